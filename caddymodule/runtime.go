package caddymodule

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

// Version is the version of the binary, stamped by the linker.
var Version = "dev"

// The runtime lives in one entry of a usage pool, so that it survives reloads:
// the new config takes hold of it before the old one lets go.
var runtimes = caddy.NewUsagePool()

const runtimeKey = "node"

// running is the node of this process, for `picloud run`.
var running atomic.Pointer[agent.Agent]

// dataLock is the lock on the data folder that `picloud run` took; nil: the
// node takes it itself.
var dataLock *datadir.Lock

// runtime is the part of a node that outlives configurations.
type runtime struct {
	agent *agent.Agent
	hard  hardSettings
}

// hardSettings cannot change while the node runs.
type hardSettings struct {
	dataDir, nodeName, databaseURL, postgresBin, workerPath, sandbox string
	httpPort, adminPort                                              int
	executorIdle                                                     time.Duration
	executorMemory                                                   int64
	executorWorkers                                                  int
}

func hardOf(o agent.Options) hardSettings {
	return hardSettings{o.DataDir, o.NodeName, o.DatabaseURL, o.PostgresBin, o.WorkerPath, o.Sandbox, o.HTTPPort, o.AdminPort, o.ExecutorIdle, o.ExecutorMemory, o.ExecutorWorkers}
}

func acquireRuntime(opts agent.Options) (*runtime, error) {
	v, _, err := runtimes.LoadOrNew(runtimeKey, func() (caddy.Destructor, error) {
		if dir, err := filepath.Abs(opts.DataDir); err == nil && dataLock.Dir() == dir {
			opts.Lock = dataLock // else the configuration names another folder than the environment
		}
		a, err := agent.New(opts)
		if err != nil {
			return nil, err
		}
		running.Store(a)
		return &runtime{agent: a, hard: hardOf(a.Options())}, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*runtime), nil
}

func releaseRuntime() error {
	_, err := runtimes.Delete(runtimeKey)
	return err
}

// sameAs refuses settings that differ from those the node runs with.
func (r *runtime) sameAs(opts agent.Options) error {
	probe, err := agent.New(opts) // completes the defaults; touches nothing
	if err != nil {
		return err
	}
	if hardOf(probe.Options()) != r.hard {
		return errors.New("picloud: the node's settings changed; a reload cannot apply them: restart required")
	}
	return nil
}

// Destruct stops the node.
func (r *runtime) Destruct() error {
	running.CompareAndSwap(r.agent, nil)
	r.agent.Stop()
	return nil
}

// DefaultDataDir is where a node keeps its data when nothing else is set.
func DefaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/picloud"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "picloud")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "picloud-data"
	}
	return filepath.Join(home, ".local", "share", "picloud")
}
