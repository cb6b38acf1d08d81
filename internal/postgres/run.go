package postgres

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud"
)

// Run performs an operation within its deadline. When a connection is broken, the
// others of the pool probably are broken too, so Run closes all of them. It performs
// an operation of which nothing reached the server once more.
func (d *DB) Run(ctx context.Context, pool *pgxpool.Pool, s Subject, fn func(context.Context) error) error {
	return d.run(ctx, d.limit(pool), pool, s, nil, fn)
}

// Look is Run for an operation that only reads. It performs the operation once more
// whenever the connection broke: a server that was restarted has ended them all.
func (d *DB) Look(ctx context.Context, pool *pgxpool.Pool, s Subject, fn func(context.Context) error) error {
	return d.run(ctx, d.limit(pool), pool, s, always, fn)
}

func always() bool { return true }

// limit is how long one operation on a pool may take.
func (d *DB) limit(pool *pgxpool.Pool) time.Duration {
	switch pool {
	case d.api:
		return controlTimeout
	case d.functions:
		return functionTimeout
	}
	return opTimeout
}

// run is Run with a time limit of its own. When the connection broke, harmless says
// whether the operation may be performed once more; nil: only if nothing of it was sent.
func (d *DB) run(ctx context.Context, limit time.Duration, pool *pgxpool.Pool, s Subject, harmless func() bool, fn func(context.Context) error) error {
	own, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := fn(own)
	if lost(err) {
		pool.Reset()
		if own.Err() == nil && (pgconn.SafeToRetry(err) || harmless != nil && harmless()) {
			err = fn(own)
		}
	}
	d.note(ctx, err)
	return s.Wrap(err)
}

// Trouble reports whether the server could not be reached or did not answer in time when
// it was last asked.
func (d *DB) Trouble() bool { return d.trouble.Load() }

// gone reports whether the database is known to be away, and is being asked for by others.
func (d *DB) gone() bool { return d.onTrouble != nil && d.trouble.Load() }

var (
	// errGone is the cause of what was not tried.
	errGone = &picloud.Error{Code: picloud.CodeDatabaseDown, Op: "reach database", Detail: "it did not answer when it was last asked", RetryAfter: retryAfter}
	// errBusy is the cause of what found no connection.
	errBusy = &picloud.Error{Code: picloud.CodeDatabaseDown, Op: "reach database", Detail: "the functions of this node use all connections that they have", RetryAfter: retryAfter}
)

// note takes down how an operation within ctx ended.
func (d *DB) note(ctx context.Context, err error) {
	if ctx.Err() != nil && err != nil || errors.Is(err, errBusy) {
		return // the caller went away, or had less patience; or nothing was asked
	}
	var pg *pgconn.PgError
	answered := err == nil || !lost(err) && (errors.As(err, &pg) || !unreachable(err))
	switch {
	case answered && d.trouble.Load():
		d.trouble.Store(false)
	case !answered && d.trouble.CompareAndSwap(false, true) && d.onTrouble != nil:
		d.onTrouble()
	}
}

// lost reports whether err says that the connection is of no further use.
func lost(err error) bool {
	if err == nil {
		return false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// The server is going down, became a standby, or ended a session that held locks and
		// said nothing.
		return strings.HasPrefix(pg.Code, "57P") || pg.Code == "25006" || undone(err)
	}
	var connect *pgconn.ConnectError
	return !errors.As(err, &connect) && (brokenOff(err) || pgconn.SafeToRetry(err))
}

// undone reports whether the server ended the transaction before it heard of a commit: the
// node was frozen.
func undone(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "25P03" || pg.Code == "25P04")
}

// brokenOff reports whether a connection ended in the middle of an exchange. The
// driver has several texts for that.
func brokenOff(err error) bool {
	if errors.Is(err, pgconn.ErrConnClosed) {
		return true
	}
	text := err.Error()
	for _, s := range []string{"EOF", "closed pool", "conn closed", "broken pipe", "connection reset by peer", "use of closed network connection"} {
		if strings.HasSuffix(text, s) {
			return true
		}
	}
	return false
}

// Rows collects what one query finds. The query only reads.
func Rows[T any](ctx context.Context, d *DB, pool *pgxpool.Pool, s Subject, row pgx.RowToFunc[T], sql string, args ...any) (items []T, err error) {
	err = d.Look(ctx, pool, s, func(ctx context.Context) error {
		found, _ := pool.Query(ctx, sql, args...) // the rows carry the error
		items, err = pgx.CollectRows(found, row)
		return err
	})
	return items, err
}

// Batch sends several statements of the manager in one round trip, as Send does.
func (d *DB) Batch(ctx context.Context, s Subject, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	return d.Run(ctx, d.api, s, func(ctx context.Context) error { return d.Send(ctx, d.api, s, queue, read) })
}

// AnyBatch is Batch for what every node may do, whether it manages the cluster or not.
func (d *DB) AnyBatch(ctx context.Context, s Subject, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	return d.Run(ctx, d.api, s, d.batch(queue, read))
}

// LookBatch is AnyBatch for statements that only read.
func (d *DB) LookBatch(ctx context.Context, s Subject, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	return d.Look(ctx, d.api, s, d.batch(queue, read))
}

func (d *DB) batch(queue func(*pgx.Batch), read func(pgx.BatchResults) error) func(context.Context) error {
	return func(ctx context.Context) error {
		b := &pgx.Batch{}
		queue(b)
		results := d.api.SendBatch(ctx, b)
		return cmp.Or(read(results), results.Close()) // closing commits
	}
}

// ForFunction runs an operation on one of the connections that functions share,
// with short waits.
//
// While the database is in trouble, and somebody goes on asking it (Options.OnTrouble), the
// operation fails at once: a function must not wait for what is known to be gone.
func (d *DB) ForFunction(ctx context.Context, s Subject, fn func(context.Context, *pgxpool.Conn) error) error {
	if d.gone() {
		return s.Wrap(errGone)
	}
	return d.Run(ctx, d.functions, s, d.borrowed(fn))
}

// LookForFunction is ForFunction for an operation that only reads.
func (d *DB) LookForFunction(ctx context.Context, s Subject, fn func(context.Context, *pgxpool.Conn) error) error {
	if d.gone() {
		return s.Wrap(errGone)
	}
	return d.Look(ctx, d.functions, s, d.borrowed(fn))
}

// borrowed performs an operation on one of the connections that functions share.
func (d *DB) borrowed(fn func(context.Context, *pgxpool.Conn) error) func(context.Context) error {
	return func(ctx context.Context) error {
		wait, cancel := context.WithTimeout(ctx, functionWait)
		conn, err := d.functions.Acquire(wait)
		cancel()
		if err != nil {
			if stat := d.functions.Stat(); ctx.Err() == nil && stat.AcquiredConns() == stat.MaxConns() {
				return errBusy // others have all connections: that says nothing of the server
			}
			return err
		}
		defer conn.Release()
		return fn(ctx, conn)
	}
}
