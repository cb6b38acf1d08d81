package caddymodule

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

// launch is what the commands of this process hand to the modules that Caddy
// makes. It is nil in a binary of somebody else, which has no such commands.
type launch struct {
	version     string
	begun       time.Time     // when the process started
	defaultData string        // the data folder when no setting names one
	lock        *datadir.Lock // on the data folder; nil: the node takes it itself
	// configure makes the configuration again, from where it came from. The
	// process itself does it, since the Caddyfile's variables stand for its own
	// flags and environment. It is nil when `picloud run` did not start the node.
	configure func() (config, error)
	reloading sync.Mutex // one reload at a time

	mu    sync.Mutex // guards what follows
	node  *agent.Agent
	ended bool // the process is about to exit
}

// hold takes note of the node, for end.
func (l *launch) hold(node *agent.Agent) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.node = node
	ended := l.ended
	l.mu.Unlock()
	if ended {
		node.Stop() // it will not start
	}
}

// end stops the node when the process exits. Caddy stops the apps of the present
// configuration, and while it loads the first one there is none: a node that starts
// at that moment would leave its database running.
func (l *launch) end(context.Context) {
	l.mu.Lock()
	l.ended = true
	node := l.node
	l.mu.Unlock()
	if node != nil {
		node.Stop()
	}
}

// launched is the launch of this process. Caddy makes modules itself, from types
// that init registers, and SIGUSR1 and the admin API reach the process and not a
// module: so this is a variable of the package. It is set before Caddy starts.
var launched atomic.Pointer[launch]

// dataDir is the data folder when no setting names one.
func (l *launch) dataDir() string {
	if l == nil {
		return datadir.Default(os.Getenv)
	}
	return l.defaultData
}

// equip adds what the process has to the settings of its node.
func (l *launch) equip(s *settings) {
	if l == nil {
		return
	}
	s.Version = l.version
	if l.lock.Dir() == s.DataDir { // else the configuration names another folder than the environment
		s.Lock = l.lock
	}
}

// reload makes the configuration again and applies it. An error means that the
// present one goes on.
func (l *launch) reload() error {
	if l == nil || l.configure == nil {
		return errors.New("reload: this process was not started by `picloud run`")
	}
	l.reloading.Lock()
	defer l.reloading.Unlock()
	config, err := l.configure()
	if err != nil {
		return err
	}
	return caddy.Load(config.json, true)
}
