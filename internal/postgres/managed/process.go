package managed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/picloud/picloud/internal/service"
)

// process is the server's main process: our child, or adopted.
type process struct {
	pid   int
	data  string
	child *os.Process   // nil: adopted
	gone  chan struct{} // closed when the process ended
	watch *service.Task // closes gone
}

// child watches a process that we started.
func child(cmd *exec.Cmd, data string) *process {
	p := &process{pid: cmd.Process.Pid, data: data, child: cmd.Process, gone: make(chan struct{})}
	p.watch = service.Go(context.Background(), func(context.Context) {
		_ = cmd.Wait() // why it ended is in its log
		close(p.gone)
	})
	return p
}

// adopt watches a process that we did not start, by looking once a second.
func adopt(pid int, data string) *process {
	p := &process{pid: pid, data: data, gone: make(chan struct{})}
	p.watch = service.Go(context.Background(), func(ctx context.Context) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !serves(pid, data) {
					close(p.gone)
					return
				}
			}
		}
	})
	return p
}

// detach ends the watching of an adopted process, which goes on. A child is
// watched as long as it lives.
func (p *process) detach() {
	if p.child == nil {
		p.watch.Stop()
	}
}

// wait reports whether the process ended before ctx.
func (p *process) wait(ctx context.Context) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.gone:
			return true
		case <-ctx.Done():
			return false
		case <-tick.C:
			if p.child == nil && !serves(p.pid, p.data) {
				return true
			}
		}
	}
}

// stop ends the server: fast until ctx ends, then at once.
func (p *process) stop(ctx context.Context) error {
	defer p.detach()
	if p.signal(syscall.SIGINT) && !p.wait(ctx) {
		for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
			p.signal(sig)
			bounded, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			ended := p.wait(bounded)
			cancel()
			if ended {
				return nil
			}
		}
		return fmt.Errorf("process %d does not end", p.pid)
	}
	return nil
}

// signal reports whether the process was there to be told. A child that was just
// started is told too, although it does not work in its folder yet.
func (p *process) signal(sig syscall.Signal) bool {
	if p.child != nil {
		return p.child.Signal(sig) == nil
	}
	return serves(p.pid, p.data) && syscall.Kill(p.pid, sig) == nil
}

// serves reports whether pid is a server that works in the folder data. The number
// may belong to an unrelated process by now. serves looks at the process's working
// folder. In a container root may not be allowed to read that; then serves looks at
// the command line.
func serves(pid int, data string) bool {
	if pid <= 1 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if cwd, err := os.Readlink(filepath.Join(proc, "cwd")); err == nil {
		real, err := filepath.EvalSymlinks(data)
		return err == nil && cwd == real
	}
	if line, err := os.ReadFile(filepath.Join(proc, "cmdline")); err == nil {
		args := strings.Split(string(line), "\x00")
		return filepath.Base(args[0]) == "postgres" && slices.Contains(args, data)
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return false // it ended meanwhile
	}
	out, err := output(context.Background(), "ps", "-o", "command=", "-p", strconv.Itoa(pid))
	return err == nil && strings.Contains(out, "postgres") && strings.Contains(out, data)
}

// recorded reads the server's own record of its process: its number and the
// folder of its socket. The number is 0 when there is no record that holds one.
func recorded(data string) (pid int, run string) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0, ""
	}
	return parseRecord(string(text))
}

func parseRecord(text string) (pid int, run string) {
	lines := strings.Split(text, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 1 {
		return 0, ""
	}
	if len(lines) > 4 {
		run = strings.TrimSpace(lines[4])
	}
	return pid, run
}

// forget removes the pid file of a server that does not run. PostgreSQL believes
// the file when any process has the number, also a dead process that was not reaped,
// and fails on a file that it cannot read. The shared memory of a running server
// still keeps a second one out.
func (s *Server) forget() error {
	socket := filepath.Join(s.run, ".s.PGSQL."+port)
	for _, path := range []string{filepath.Join(s.data, "postmaster.pid"), socket + ".lock", socket} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return diskError("remove stale record", path, err)
		}
	}
	return nil
}

// bringUp returns a server that accepts connections: the one that runs on the
// data, or a new one. What it begins is s.proc at once, so that a stop finds it.
func (s *Server) bringUp(ctx context.Context) (*process, error) {
	if pid, run := recorded(s.data); serves(pid, s.data) {
		proc := adopt(pid, s.data)
		s.began(proc)
		if run == s.run && s.socketThere() {
			if err := s.ready(ctx, proc, size(s.logPath)); err == nil {
				s.serving(true)
				s.log.InfoContext(ctx, "managed PostgreSQL adopted", slog.Int("pid", pid))
				return proc, nil
			} else if ctx.Err() != nil {
				proc.detach()
				return nil, err
			}
		}
		// The server's socket is elsewhere, gone or broken: only a restart helps.
		stopping, cancel := context.WithTimeout(ctx, stopTime)
		err := proc.stop(stopping)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("stop PostgreSQL that cannot be adopted: %w", err)
		}
		s.began(nil)
	}
	if err := s.forget(); err != nil {
		return nil, err
	}
	return s.launch(ctx)
}

func (s *Server) socketThere() bool {
	_, err := os.Stat(filepath.Join(s.run, ".s.PGSQL."+port))
	return err == nil
}
