package managed

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
)

// launch starts the server and waits until it accepts connections. Processes
// of one that was killed may keep its memory for a moment.
func (s *Server) launch(ctx context.Context) (*process, error) {
	patience := time.Now().Add(15 * time.Second)
	for {
		proc, from, err := s.spawn()
		if err != nil {
			return nil, err
		}
		s.began(proc)
		err = s.ready(ctx, proc, from)
		if err == nil {
			s.serving(false)
			s.log.InfoContext(ctx, "managed PostgreSQL started", slog.Int("pid", proc.pid), slog.String("version", s.bin.version))
			return proc, nil
		}
		if ctx.Err() != nil && isStarting(err) {
			return nil, err // it still replays its log: a stop ends it, the next start adopts it
		}
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		_ = proc.stop(stopping) // the caller gets the error of the start
		cancel()
		s.began(nil)
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
		if pid, _ := recorded(s.data); serves(pid, s.data) {
			return s.bringUp(ctx) // it was on its way up when the agent before this one was killed
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
		err := s.try(ctx)
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

func (s *Server) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := s.connect(ctx, database)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (s *Server) createDatabase(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the connection is of no further use
	_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	return err
}

// connect opens a connection to one of the server's databases. The folder of the socket
// goes into a field, not into a DSN, which would be parsed.
func (s *Server) connect(ctx context.Context, db string) (*pgx.Conn, error) {
	conf, err := pgx.ParseConfig(DSN)
	if err != nil {
		return nil, err
	}
	conf.Host, conf.Database = s.run, db
	return pgx.ConnectConfig(ctx, conf)
}
