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
)

// Run performs an operation within its deadline. When a connection is broken, the
// others of the pool probably are broken too, so Run closes all of them. It performs
// an operation of which nothing reached the server once more.
func (d *DB) Run(ctx context.Context, pool *pgxpool.Pool, s Subject, fn func(context.Context) error) error {
	return d.RunWithin(ctx, opTimeout, pool, s, fn)
}

// RunWithin is Run with a time limit of its own.
func (d *DB) RunWithin(ctx context.Context, limit time.Duration, pool *pgxpool.Pool, s Subject, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := fn(ctx)
	if lost(err) {
		pool.Reset()
		if pgconn.SafeToRetry(err) && ctx.Err() == nil {
			err = fn(ctx)
		}
	}
	return s.Wrap(err)
}

// lost reports whether err says that the connection is of no further use.
func lost(err error) bool {
	if err == nil {
		return false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// The server is going down, or became a standby.
		return strings.HasPrefix(pg.Code, "57P") || pg.Code == "25006"
	}
	var connect *pgconn.ConnectError
	return !errors.As(err, &connect) && (brokenOff(err) || pgconn.SafeToRetry(err))
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

// Rows collects what one query finds.
func Rows[T any](ctx context.Context, d *DB, pool *pgxpool.Pool, s Subject, row pgx.RowToFunc[T], sql string, args ...any) (items []T, err error) {
	err = d.Run(ctx, pool, s, func(ctx context.Context) error {
		found, _ := pool.Query(ctx, sql, args...) // the rows carry the error
		items, err = pgx.CollectRows(found, row)
		return err
	})
	return items, err
}

// Batch sends several statements in one round trip. Without a begin they are
// one transaction, each with a snapshot of its own.
func (d *DB) Batch(ctx context.Context, s Subject, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	return d.Run(ctx, d.api, s, func(ctx context.Context) error {
		b := &pgx.Batch{}
		queue(b)
		results := d.api.SendBatch(ctx, b)
		return cmp.Or(read(results), results.Close()) // closing commits
	})
}

// ForFunction runs an operation on one of the connections that functions share,
// with short waits.
func (d *DB) ForFunction(ctx context.Context, s Subject, fn func(context.Context, *pgxpool.Conn) error) error {
	return d.RunWithin(ctx, functionTimeout, d.functions, s, func(ctx context.Context) error {
		wait, cancel := context.WithTimeout(ctx, functionWait)
		conn, err := d.functions.Acquire(wait)
		cancel()
		if err != nil {
			return err
		}
		defer conn.Release()
		return fn(ctx, conn)
	})
}
