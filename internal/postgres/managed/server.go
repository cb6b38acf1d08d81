package managed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
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
	// Existing says that the data has to be there: when it is missing, Start fails, and makes
	// no new database.
	Existing bool
	// MaxConnections is how many connections the server takes. Default 250: see maxSessions.
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

	life    sync.Mutex // held by Start and by Stop, so that they exclude each other
	account account
	lock    *datadir.Lock
	watcher *service.Task // nil: not started

	mu      sync.Mutex // guards what follows; never held for long
	bin     binaries
	begun   *process // what was launched or is being adopted; nil: nothing
	proc    *process // what accepts connections; nil: nothing
	adopted bool
}

const (
	port = "5432" // only a part of the socket's name
	role = "picloud"
	// Role is the role that owns the database.
	Role = role

	database = "picloud"

	// DSN says how to reach the database, but for the folder of the server's socket,
	// which is Server.Socket.
	DSN = "host=/ port=" + port + " user=" + role + " dbname=" + database + " sslmode=disable"

	// DSNOfAny says how to reach the database, but for the socket and the role.
	DSNOfAny = "host=/ port=" + port + " dbname=" + database + " sslmode=disable"
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
	o.MaxConnections = cmp.Or(o.MaxConnections, 250)
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

// Socket returns the folder of the server's socket. It is the same before and after
// Start. No DSN can name every folder, because a comma in it separates hosts.
func (s *Server) Socket() string { return s.run }

// DSN returns the URL of the database, for tools and tests whose folder has a plain
// name. The node itself uses Socket.
func (s *Server) DSN() string {
	q := url.Values{"host": {s.run}, "port": {port}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(role), Path: "/" + database, RawQuery: strings.ReplaceAll(q.Encode(), "+", "%20")} // a plus is a plus here
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

// Started reports whether Start succeeded and Stop was not called since.
func (s *Server) Started() bool {
	s.life.Lock()
	defer s.life.Unlock()
	return s.watcher != nil
}

// Start makes the server accept connections, or explains why it does not. It
// creates the data when there is none, adopts a server that runs on it, and
// recovers what a crash left. The server is watched, and restarted when it
// dies, until Stop.
//
// When ctx is cancelled, Start ends what it launched or was adopting. When the time
// of ctx is over, it leaves alone a server that still replays its log: the next Start
// adopts the server, and Stop ends it.
func (s *Server) Start(ctx context.Context) (err error) {
	s.life.Lock()
	defer s.life.Unlock()
	if s.watcher != nil {
		return errors.New("start managed PostgreSQL: it was started before")
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
				err = errors.Join(err, s.end(ending))
				cancel()
			}
			s.leave()
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	proc, err := s.bringUp(ctx)
	if err != nil {
		return err
	}
	s.watcher = service.Go(context.WithoutCancel(ctx), func(ctx context.Context) { s.watch(ctx, proc) })
	return nil
}

// enter makes the data folder and takes its lock.
func (s *Server) enter() error {
	if err := datadir.Resume(s.o.DataDir); err != nil {
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
	bin, err := findBinaries(ctx, s.o.BinDir, major)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.bin = bin
	s.mu.Unlock()
	if s.account, err = chooseAccount(s.data); err != nil {
		return err
	}
	if err := s.account.reach(s.bin.postgres(), s.o.DataDir); err != nil {
		return err
	}
	if err := s.removeLeftovers(ctx); err != nil {
		return err
	}
	if major == 0 && s.o.Existing {
		return s.lost()
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

// stopTime bounds a clean stop of the server.
const stopTime = 30 * time.Second

// Stop ends the watch and the server: disconnecting clients and writing a
// checkpoint, or after 30 s or the end of ctx as after a crash, which the next
// start recovers. It also ends a server that a failed Start left, and, when the
// caller holds the lock of the data folder, one that an earlier agent left and that
// nobody adopted yet.
func (s *Server) Stop(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	started := s.watcher != nil
	s.watcher.Stop() // returns soon, because the watch observes its context
	s.watcher = nil
	if started {
		defer s.leave()
	} else if s.o.Lock == nil {
		return nil // the data folder may be another agent's
	}
	ctx, free := context.WithTimeout(ctx, stopTime)
	defer free()
	return s.end(ctx)
}

// end ends every server of the data folder: the one that this agent began, and one
// that the folder records, which an agent that was killed has left.
func (s *Server) end(ctx context.Context) error {
	s.mu.Lock()
	proc := s.begun
	s.begun, s.proc = nil, nil
	s.mu.Unlock()
	if proc != nil {
		if err := proc.stop(ctx); err != nil {
			return fmt.Errorf("stop managed PostgreSQL: %w", err)
		}
		s.log.InfoContext(ctx, "managed PostgreSQL stopped", slog.Int("pid", proc.pid))
	}
	if pid, _ := recorded(s.data); serves(pid, s.data) {
		if err := adopt(pid, s.data).stop(ctx); err != nil {
			return fmt.Errorf("stop managed PostgreSQL that an earlier node left: %w", err)
		}
		s.log.InfoContext(ctx, "managed PostgreSQL stopped", slog.Int("pid", pid))
	}
	return nil
}

// began notes a server that does not accept connections yet. A stop ends it from now
// on.
func (s *Server) began(proc *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun, s.proc = proc, nil
}

// serving notes that the server that was begun accepts connections.
func (s *Server) serving(adopted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc, s.adopted = s.begun, adopted
}
