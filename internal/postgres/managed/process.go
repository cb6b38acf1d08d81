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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/service"
)

// process is the server's main process: our child, or adopted.
type process struct {
	pid   int
	data  string
	child bool
	gone  chan struct{} // closed when the process ended
	watch *service.Task // closes gone
}

// child watches a process that we started.
func child(cmd *exec.Cmd, data string) *process {
	p := &process{pid: cmd.Process.Pid, data: data, child: true, gone: make(chan struct{})}
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
	if !p.child {
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
			if !p.child && !serves(p.pid, p.data) {
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

// signal reports whether the process was there to be told.
func (p *process) signal(sig syscall.Signal) bool {
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
// data, or a new one.
func (s *Server) bringUp(ctx context.Context) (proc *process, adopted bool, err error) {
	pid, run := recorded(s.data)
	if serves(pid, s.data) {
		proc := adopt(pid, s.data)
		if run == s.run && s.socketThere() {
			if err := s.ready(ctx, proc, size(s.logPath)); err == nil {
				s.log.InfoContext(ctx, "managed PostgreSQL adopted", slog.Int("pid", pid))
				return proc, true, nil
			} else if ctx.Err() != nil {
				proc.detach()
				return nil, false, err
			}
		}
		// The server's socket is elsewhere, gone or broken: only a restart helps.
		stopping, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := proc.stop(stopping)
		cancel()
		if err != nil {
			return nil, false, fmt.Errorf("stop PostgreSQL that cannot be adopted: %w", err)
		}
	}
	if err := s.forget(); err != nil {
		return nil, false, err
	}
	proc, err = s.launch(ctx)
	return proc, false, err
}

func (s *Server) socketThere() bool {
	_, err := os.Stat(filepath.Join(s.run, ".s.PGSQL."+port))
	return err == nil
}

// launch starts the server and waits until it accepts connections. Processes
// of one that was killed may keep its memory for a moment.
func (s *Server) launch(ctx context.Context) (*process, error) {
	patience := time.Now().Add(15 * time.Second)
	for {
		proc, from, err := s.spawn()
		if err != nil {
			return nil, err
		}
		err = s.ready(ctx, proc, from)
		if err == nil {
			s.log.InfoContext(ctx, "managed PostgreSQL started", slog.Int("pid", proc.pid), slog.String("version", s.bin.version))
			return proc, nil
		}
		if ctx.Err() != nil && isStarting(err) {
			return nil, err // it still replays its log: the next start adopts it
		}
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		_ = proc.stop(stopping) // the caller gets the error of the start
		cancel()
		said := tail(s.logPath, from)
		again := strings.Contains(said, "pre-existing shared memory block") || strings.Contains(said, `lock file "postmaster.pid" already exists`)
		if !again || time.Now().After(patience) || ctx.Err() != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// spawn starts the server's process, and returns where its part of the log
// begins.
func (s *Server) spawn() (*process, int64, error) {
	out, err := openLog(s.logPath)
	if err != nil {
		return nil, 0, diskError("open log", s.logPath, err)
	}
	defer out.Close()
	from := size(s.logPath)
	cmd := exec.Command(s.bin.postgres(), "-D", s.data) //nolint:noctx // the server outlives the context that started it
	cmd.Dir, cmd.Env, cmd.SysProcAttr = "/", environment(), s.account.attr()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, 0, &picloud.Error{Code: picloud.CodeDatabaseDown, Op: "start managed PostgreSQL", Resource: s.data, Err: err}
	}
	return child(cmd, s.data), from, nil
}

// ready waits until the server accepts connections and has our database.
func (s *Server) ready(ctx context.Context, proc *process, from int64) error {
	pause := 10 * time.Millisecond
	for {
		err := s.try(ctx, s.DSN())
		var pg *pgconn.PgError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &pg) && pg.Code == "3D000": // the database is made after the first start
			if err = s.createDatabase(ctx); err == nil {
				continue
			}
		case errors.As(err, &pg) && !isStarting(err) && pg.Code != "53300": // nor is it full
			return s.failed("it refuses the login", from, err)
		}
		select {
		case <-proc.gone:
			return s.failed("it ended while it started", from, nil)
		case <-ctx.Done():
			return s.failed("it was not ready in time", from, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// isStarting reports whether the server said that it does not accept
// connections yet.
func isStarting(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "57P03"
}

// failed returns an error with the last lines of the server's log.
func (s *Server) failed(detail string, from int64, err error) error {
	said := tail(s.logPath, from)
	if said != "" {
		detail += "; its log ends with: " + said
	}
	return &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "start managed PostgreSQL", Resource: s.data, Detail: detail, Hint: hintFor(said), Err: err,
	}
}

func (s *Server) try(ctx context.Context, dsn string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (s *Server) createDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the connection is of no further use
	_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	return err
}
