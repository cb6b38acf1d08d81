package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/internal/service"
)

// Listener receives notifications on a connection of its own. When the connection
// is lost it reconnects, with exponential back-off.
type Listener struct {
	db       *DB
	channels []string
	on       func(channel, payload string)

	mu   sync.Mutex
	task *service.Task // nil until Start
}

const (
	// quiet is how long a connection may be silent before the listener tests it
	// (keepalive): when a server vanishes, its connections just stay silent.
	quiet = time.Minute

	// sqlListenerReady refuses a standby, which never notifies.
	sqlListenerReady = `SELECT pg_is_in_recovery()`

	sqlListenerPing = `SELECT 1`
)

// Listen prepares a listener that calls on for each notification on the
// channels. It also calls on("", "") after every connect, because notifications
// before then may have been missed, and whenever a connection is lost or cannot
// be made, because the database may be gone. Calls come one after the other; on should
// only take note and return.
func (d *DB) Listen(channels []string, on func(channel, payload string)) *Listener {
	return &Listener{db: d, channels: channels, on: on}
}

// Start begins to listen. It returns at once and needs no server to be up.
func (l *Listener) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.task != nil {
		return errors.New("start listener: it was started before")
	}
	l.task = service.Go(context.WithoutCancel(ctx), l.run)
	return nil
}

// Stop ends listening and waits until the last call of the callback returned.
func (l *Listener) Stop() {
	l.mu.Lock()
	task := l.task
	l.mu.Unlock()
	task.Stop()
}

// run keeps a connection until ctx ends.
func (l *Listener) run(ctx context.Context) {
	pause := backoff.New(backoff.First, backoff.Soon)
	for ctx.Err() == nil {
		began := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > quiet {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		l.db.log.WarnContext(ctx, "database notifications are interrupted", slog.Any("error", err), slog.Duration("retry_in", wait))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		case <-l.db.moved:
			pause.Reset()
		}
	}
}

// session connects and listens until something goes wrong, which is its error.
func (l *Listener) session(ctx context.Context) (err error) {
	s := About("listen to database", "")
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("listen to database: callback panicked: %v", r)
		}
	}()
	defer func() {
		if err != nil && ctx.Err() == nil {
			l.on("", "")
		}
	}()
	opening, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(opening, l.db.conf.Copy())
	if err != nil {
		return s.Wrap(err)
	}
	defer closeConn(conn)
	for _, name := range l.channels {
		if _, err := conn.Exec(opening, "LISTEN "+pgx.Identifier{name}.Sanitize()); err != nil {
			return s.Wrap(err)
		}
	}
	var standby bool
	if err := conn.QueryRow(opening, sqlListenerReady).Scan(&standby); err != nil {
		return s.Wrap(err)
	}
	if standby {
		return errors.New("listen to database: the server is a standby, which does not notify")
	}
	l.on("", "")
	for {
		if err := l.next(ctx, conn); err != nil {
			return s.Wrap(err)
		}
	}
}

// next waits for one notification and hands it on. After a quiet minute it
// makes sure that the server is still there.
func (l *Listener) next(ctx context.Context, conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, quiet)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		l.on(n.Channel, n.Payload)
		return nil
	case ctx.Err() != nil || waiting.Err() == nil || conn.IsClosed():
		return err
	}
	asking, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	_, err = conn.Exec(asking, sqlListenerPing)
	return err
}
