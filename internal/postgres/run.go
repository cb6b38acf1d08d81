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

// run performs an operation within its time. When a connection turns out to be
// broken, the others of the pool probably are: all are closed, and an
// operation of which nothing reached the server is performed once more.
func (d *DB) run(ctx context.Context, pool *pgxpool.Pool, s subject, fn func(context.Context) error) error {
	return d.runWithin(ctx, opTimeout, pool, s, fn)
}

func (d *DB) runWithin(ctx context.Context, limit time.Duration, pool *pgxpool.Pool, s subject, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := fn(ctx)
	if lost(err) {
		pool.Reset()
		if pgconn.SafeToRetry(err) && ctx.Err() == nil {
			err = fn(ctx)
		}
	}
	return s.wrap(err)
}

// lost reports whether err says that the connection is of no further use.
func lost(err error) bool {
	if err == nil {
		return false
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		// The server is going down, or became a standby.
		return strings.HasPrefix(pg.Code, "57P") || pg.Code == "25006"
	}
	var connect *pgconn.ConnectError
	return !errors.As(err, &connect) && (brokenOff(err) || pgconn.SafeToRetry(err))
}

// brokenOff reports whether a connection ended in the middle of an exchange,
// which the driver says in several ways.
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

// rows collects what one query finds.
func rows[T any](ctx context.Context, d *DB, pool *pgxpool.Pool, s subject, row pgx.RowToFunc[T], sql string, args ...any) (items []T, err error) {
	err = d.run(ctx, pool, s, func(ctx context.Context) error {
		found, _ := pool.Query(ctx, sql, args...) // its error is that of the rows
		items, err = pgx.CollectRows(found, row)
		return err
	})
	return items, err
}

// batch sends several statements in one round trip. Without a begin they are
// one transaction, each with a snapshot of its own.
func (d *DB) batch(ctx context.Context, s subject, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	return d.run(ctx, d.api, s, func(ctx context.Context) error {
		b := &pgx.Batch{}
		queue(b)
		results := d.api.SendBatch(ctx, b)
		return cmp.Or(read(results), results.Close()) // closing commits
	})
}
