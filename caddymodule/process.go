package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sys/unix"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/local"
	"github.com/picloud/picloud/internal/service"
)

// process is the node as a process of its machine: what signals and the local
// commands do to it, and what it says about its start and its end.
type process struct {
	out      io.Writer // for people; what cannot be written is lost
	launch   *launch
	config   config
	stopping atomic.Int64 // when the end began, in Unix nanoseconds; 0: it has not
	socket   *local.Server
	// onHangup is what SIGHUP does.
	onHangup hangup
}

// hangup is what SIGHUP means to this process.
type hangup int

const (
	// hangupReloads: a service without a terminal reads its configuration again.
	hangupReloads hangup = iota
	// hangupStops: the terminal that the node was started from was closed.
	hangupStops
	// hangupIgnored: whoever started the node wants it to outlive the terminal (nohup).
	hangupIgnored
)

// whatHangupMeans looks at how the process was started, and returns its terminal if the
// end of that is its own. It is asked before anything handles signals.
func whatHangupMeans() (hangup, *os.File) {
	if signal.Ignored(syscall.SIGHUP) {
		return hangupIgnored, nil
	}
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil { // there is no terminal that could hang up
		return hangupReloads, nil
	}
	return hangupStops, terminal
}

// watchTerminal stops the process when its terminal is closed. The kernel sends SIGHUP
// to the first process of the terminal only; if that is a `make` which waits for us, no
// signal comes. It returns when the other end of wake is closed, and at once where the
// kernel cannot watch a terminal (POLLNVAL on macOS).
func (p *process) watchTerminal(terminal, wake *os.File) {
	defer terminal.Close()
	defer wake.Close()
	for {
		descriptors := []unix.PollFd{{Fd: int32(terminal.Fd())}, {Fd: int32(wake.Fd())}} // no events: the end of either
		switch _, err := unix.Poll(descriptors, -1); {
		case errors.Is(err, syscall.EINTR):
		case err == nil && descriptors[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 && descriptors[1].Revents == 0:
			p.stop("its terminal was closed")
			return
		default:
			return
		}
	}
}

// node is the name of the node in what the process says.
func (p *process) node() string { return "PiCloud node " + p.config.home.NodeName }

func (p *process) say(format string, args ...any) {
	fmt.Fprintf(p.out, "%s %s\n", p.node(), fmt.Sprintf(format, args...))
}

// catch makes the signals that the process handles come to a channel. From then on
// none of them ends the process by itself.
func (p *process) catch() chan os.Signal {
	signals := make(chan os.Signal, 8)
	handled := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1}
	if p.onHangup != hangupIgnored {
		handled = append(handled, syscall.SIGHUP)
	}
	signal.Notify(signals, handled...)
	return signals
}

// handle does what signals ask for until ctx ends. Caddy ends the process at SIGINT
// and SIGTERM itself; this says so, and does the rest.
func (p *process) handle(ctx context.Context, signals chan os.Signal) {
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP && p.onHangup == hangupStops:
				p.stop("its terminal was closed")
			case s == syscall.SIGHUP:
				_ = p.reloadFor("SIGHUP") // it has said what is wrong
			case s == syscall.SIGUSR1:
				_ = p.reloadFor("SIGUSR1")
			case s == os.Interrupt:
				p.stop("Ctrl-C")
			default:
				p.stop("SIGTERM")
			}
		}
	}
}

// stop says that the end has begun and makes Caddy end the process, once.
func (p *process) stop(why string) {
	if p.stopping.CompareAndSwap(0, time.Now().UnixNano()) {
		p.say("stops (%s): calls that run have %s to end", why, gracePeriod)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM) // Caddy may not have listened to the first one yet
	}
}

// ended is the last that the process says. Caddy calls it when all apps have stopped.
func (p *process) ended(context.Context) {
	p.socket.Close()
	if begun := p.stopping.Load(); begun != 0 {
		p.say("stopped after %.1f s", time.Since(time.Unix(0, begun)).Seconds())
		return
	}
	p.say("stopped")
}

// reloadFor reloads the configuration and says so.
func (p *process) reloadFor(why string) error {
	err := p.launch.reload()
	if err != nil {
		p.say("keeps its configuration (%s): %s", why, err)
		return err
	}
	p.say("read its configuration again (%s)", why)
	return nil
}

// Reload implements local.Node.
func (p *process) Reload() error { return p.reloadFor("picloud reload") }

// Stop implements local.Node.
func (p *process) Stop() { p.stop("picloud stop") }

// NewToken implements local.Node.
func (p *process) NewToken(ctx context.Context, user string) (token, saved string, err error) {
	node := activeNode()
	if node == nil {
		return "", "", &picloud.Error{Code: picloud.CodeStarting, Op: "replace token of", Resource: user, Detail: "the node is starting", RetryAfter: time.Second}
	}
	return node.NewLocalToken(ctx, user)
}

// Cluster implements local.Node.
func (p *process) Cluster() (c local.Cluster) {
	if node := activeNode(); node != nil {
		c.State, c.Nodes = node.Seen()
	}
	return c
}

// Recover implements local.Node.
func (p *process) Recover(ctx context.Context, r local.Recovery) (local.Recovered, error) {
	node := activeNode()
	if node == nil {
		return local.Recovered{}, &picloud.Error{Code: picloud.CodeStarting, Op: "recover cluster", Detail: "the node is starting", RetryAfter: time.Second}
	}
	done, err := node.Recover(ctx, agent.Recovery(r))
	return local.Recovered(done), err
}

// Status implements local.Node.
func (p *process) Status() local.Status {
	s := local.Status{
		Running: true, State: local.Starting, PID: os.Getpid(), Version: p.launch.version,
		Node: p.config.home.NodeName, Data: p.config.home.DataDir, Config: p.config.path, StartedAt: &p.launch.begun,
	}
	s.Listens, _ = p.config.addresses() // they were read when the node started
	if node := activeNode(); node != nil {
		now := node.Status()
		s.FunctionsURL, s.ControlURL = p.config.home.functionsURL(), now.ControlURL
		s.Revision, s.Functions = now.Revision, now.Functions
		// Whoever asks may do so in another folder, so the path is whole.
		s.Database = describeDatabase(now.Database, func(path string) string { return path })
		s.State, s.Reason = stateOf(now)
	}
	if p.stopping.Load() != 0 {
		s.State, s.Reason = local.Stopping, ""
	}
	return s
}

// stateOf says whether a node serves, and why it is not ready. It agrees with GET /readyz.
func stateOf(now agent.Status) (state, reason string) {
	switch {
	case now.Unready != nil:
		return local.Starting, waiting(now)
	case now.Database != nil && now.Database.Err != nil:
		return local.Degraded, now.Database.Err.Error() + howOld(now)
	case len(now.Missing) > 0:
		return local.Degraded, "it serves without " + strings.Join(now.Missing, ", ") + howOld(now)
	}
	return local.Ready, ""
}

// howOld says how old what a node serves may be, if it is cut off.
func howOld(now agent.Status) string {
	if now.Stale == 0 {
		return ""
	}
	unit := time.Second
	if now.Stale >= time.Hour {
		unit = time.Minute
	}
	age, minutes := strings.CutSuffix(now.Stale.Truncate(unit).String(), "m0s")
	if minutes {
		age += "m"
	}
	return "; what it serves may be " + age + " old"
}

// open lets signals and the commands of this machine reach the process.
func (p *process) open(ctx context.Context) (*service.Task, error) {
	var err error
	if p.socket, err = local.Listen(p.config.home.DataDir, p); err != nil {
		return nil, err
	}
	var terminal *os.File
	p.onHangup, terminal = whatHangupMeans()
	signals := p.catch()
	caddy.TrapSignals()
	caddy.OnExit(p.ended)
	return service.Go(ctx, func(ctx context.Context) {
		if terminal != nil {
			wake, sleeper, err := os.Pipe()
			if err == nil {
				watch := service.Go(ctx, func(context.Context) { p.watchTerminal(terminal, wake) })
				defer watch.Stop()
				defer sleeper.Close()
			}
		}
		p.handle(ctx, signals)
	}), nil
}

var _ local.Node = (*process)(nil)
