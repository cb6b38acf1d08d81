package managed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/service"
)

// Options say where the server lives.
type Options struct {
	// DataDir is the node's data folder; the server's data is in its subfolder
	// postgres, its log in postgres.log. Made when missing. Required.
	DataDir string
	// RunDir holds the server's socket. Default: postgres-run in DataDir, or
	// when that path is too long for a socket a folder in the system's temp
	// folder that is named by a hash of DataDir.
	RunDir string
	// BinDir holds initdb and postgres. Default: searched; the newest version
	// from 15 on, or the one that made the data.
	BinDir string
	// Lock is the lock on DataDir when the caller holds it already. Default:
	// Start takes it, Stop gives it back.
	Lock *datadir.Lock
	// MaxConnections is how many connections the server takes. Default 100.
	MaxConnections int
	// NoSync leaves syncing to the system: a crash of the server loses nothing,
	// one of the machine everything. For tests only.
	NoSync bool
	// Logger receives starts, stops and crashes. Default: discard.
	Logger *slog.Logger
}

// Server is a PostgreSQL server that belongs to this node.
type Server struct {
	o       Options
	log     *slog.Logger
	data    string // the server's own folder
	run     string // the folder of its socket
	logPath string

	mu      sync.Mutex
	bin     binaries
	account account
	lock    *datadir.Lock
	proc    *process
	adopted bool
	watcher *service.Task // nil: not started
}

const (
	port     = "5432" // only a part of the socket's name
	role     = "picloud"
	database = "picloud"
)

// New checks the options. It touches nothing yet.
func New(o Options) (*Server, error) {
	if o.DataDir == "" {
		return nil, errors.New("prepare managed PostgreSQL: no data folder")
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("resolve data folder %q: %w", o.DataDir, err)
	}
	o.DataDir = dir
	o.MaxConnections = cmp.Or(o.MaxConnections, 100)
	run := o.RunDir
	if run == "" {
		run = defaultRunDir(dir)
	}
	if run, err = filepath.Abs(run); err != nil {
		return nil, fmt.Errorf("resolve run folder %q: %w", o.RunDir, err)
	}
	if len(run) > maxRunDir {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "prepare managed PostgreSQL", Resource: run,
			Detail: fmt.Sprintf("the run folder's path has more than %d bytes, too long for a socket", maxRunDir), Hint: "choose a shorter one",
		}
	}
	return &Server{
		o:       o,
		log:     cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		data:    filepath.Join(dir, "postgres"),
		run:     run,
		logPath: filepath.Join(dir, "postgres.log"),
	}, nil
}

// DSN returns the URL of the database. It is the same before and after Start.
func (s *Server) DSN() string { return s.dsn(database) }

func (s *Server) dsn(db string) string {
	q := url.Values{"host": {s.run}, "port": {port}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(role), Path: "/" + db, RawQuery: q.Encode()}
	return u.String()
}

// Version returns the version of the server's binaries, such as "15.18"; empty
// before Start found them.
func (s *Server) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bin.version
}

// Adopted reports whether the server was found running and not started by us.
func (s *Server) Adopted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.adopted
}

// PID returns the id of the server's main process; 0 when none runs.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid
}

// Start makes the server accept connections, or explains why it does not. It
// creates the data when there is none, adopts a server that runs on it, and
// recovers what a crash left. The server is watched, and restarted when it
// dies, until Stop.
func (s *Server) Start(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher != nil {
		return errors.New("start managed PostgreSQL: it was started before")
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.leave()
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	proc, adopted, err := s.bringUp(ctx)
	if err != nil {
		return err
	}
	s.proc, s.adopted = proc, adopted
	s.watcher = service.Go(context.WithoutCancel(ctx), func(ctx context.Context) { s.watch(ctx, proc) })
	return nil
}

// enter makes the data folder and takes its lock.
func (s *Server) enter() error {
	if err := datadir.Prepare(s.o.DataDir); err != nil {
		return err
	}
	s.lock = s.o.Lock
	if s.lock != nil {
		return nil
	}
	lock, err := datadir.Acquire(s.o.DataDir)
	s.lock = lock
	return err
}

// leave gives the lock back unless it is the caller's.
func (s *Server) leave() {
	if s.o.Lock == nil {
		s.lock.Release()
	}
	s.lock = nil
}

// prepare finds binaries and account, and makes what is missing on disk.
func (s *Server) prepare(ctx context.Context) error {
	major, err := dataMajor(s.data)
	if err != nil {
		return err
	}
	if s.bin, err = findBinaries(ctx, s.o.BinDir, major); err != nil {
		return err
	}
	if s.account, err = chooseAccount(s.data); err != nil {
		return err
	}
	if err := s.account.reach(s.bin.postgres(), s.o.DataDir); err != nil {
		return err
	}
	if err := s.removeLeftovers(ctx); err != nil {
		return err
	}
	if major == 0 {
		if err := s.initialize(ctx); err != nil {
			return err
		}
	}
	if err := s.makeRunDir(); err != nil {
		return err
	}
	if err := s.configure(s.data); err != nil {
		return err
	}
	return rotate(s.logPath)
}

// Stop ends the watch and the server: disconnecting clients and writing a
// checkpoint, or after 30 s or the end of ctx as after a crash, which the next
// start recovers.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	watcher := s.watcher
	s.mu.Unlock()
	if watcher == nil {
		return nil
	}
	watcher.Stop() // returns soon, because the watch observes its context
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher == nil {
		return nil // another Stop was first
	}
	defer s.leave()
	s.watcher = nil
	proc := s.proc
	s.proc = nil
	if proc == nil {
		return nil
	}
	ctx, free := context.WithTimeout(ctx, 30*time.Second)
	defer free()
	if err := proc.stop(ctx); err != nil {
		return fmt.Errorf("stop managed PostgreSQL: %w", err)
	}
	s.log.InfoContext(ctx, "managed PostgreSQL stopped", slog.Int("pid", proc.pid))
	return nil
}

// watch restarts the server when it ends, and keeps its log small.
func (s *Server) watch(ctx context.Context, proc *process) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			proc.detach()
			return
		case <-tick.C:
			if err := truncate(s.logPath); err != nil {
				s.log.WarnContext(ctx, "log of managed PostgreSQL cannot be cut", slog.Any("error", err))
			}
		case <-proc.gone:
			s.log.ErrorContext(ctx, "managed PostgreSQL ended, restarting it", slog.Int("pid", proc.pid), slog.String("log", tail(s.logPath, 0)))
			if proc = s.restart(ctx); proc == nil {
				return
			}
		}
	}
}

const (
	backoffMin = 250 * time.Millisecond
	backoffMax = 30 * time.Second
	// recoveryTime bounds one attempt to come up: replaying the log after a
	// crash takes minutes on a slow card.
	recoveryTime = 15 * time.Minute
)

// restart brings the server up again, however often it takes. It returns nil
// when ctx ended first.
func (s *Server) restart(ctx context.Context) *process {
	pause := backoffMin
	for {
		attempt, cancel := context.WithTimeout(ctx, recoveryTime)
		proc, adopted, err := s.bringUp(attempt)
		cancel()
		if err == nil {
			s.mu.Lock()
			s.proc, s.adopted = proc, adopted
			s.mu.Unlock()
			s.log.InfoContext(ctx, "managed PostgreSQL is back", slog.Int("pid", proc.pid))
			return proc
		}
		s.mu.Lock()
		s.proc = nil
		s.mu.Unlock()
		if ctx.Err() == nil {
			s.log.ErrorContext(ctx, "managed PostgreSQL does not start", slog.Any("error", err), slog.Duration("retry_in", pause))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, backoffMax)
	}
}
