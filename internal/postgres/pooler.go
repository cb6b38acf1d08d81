package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

const (
	sqlBackend = `SELECT pg_backend_pid()`

	// poolerRounds is how often checkPooler compares. A pooler that takes its
	// connections in turn may give the same one twice by chance.
	poolerRounds = 3
	// poolerWait bounds the comparison.
	poolerWait = 10 * time.Second
)

// checkPooler refuses a pooler that gives a session's transactions to different
// connections of the server: locks, settings and LISTEN belong to a session, so
// migrations would run at once and changes would be missed. A pooler that gives each
// session a connection of its own is fine.
func (d *DB) checkPooler(ctx context.Context, s Subject, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, poolerWait)
	defer cancel()
	own, err := backend(ctx, conn)
	if err != nil || own == conn.PgConn().PID() {
		return err // the server itself: it told its own number when the connection began
	}
	other, err := pgx.ConnectConfig(ctx, d.conf.Copy())
	if err != nil {
		return err
	}
	defer closeConn(other)
	for range poolerRounds {
		tx, err := other.Begin(ctx)
		if err != nil {
			return poolMode(s, err) // pooling by statement allows no transaction
		}
		busy, err := backend(ctx, other)
		if err != nil {
			return err
		}
		now, err := backend(ctx, conn)
		if err != nil {
			return err
		}
		if busy == own || now != own {
			return poolMode(s, nil)
		}
		if err := tx.Rollback(ctx); err != nil {
			return err
		}
	}
	return nil
}

// backend returns which process of the server works for a connection.
func backend(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	err = conn.QueryRow(ctx, sqlBackend, pgx.QueryExecModeSimpleProtocol).Scan(&pid)
	return pid, err
}

// poolMode says what to change in a pooler.
func poolMode(s Subject, cause error) error {
	return &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: s.Op, Resource: s.Resource, RetryAfter: retryAfter,
		Detail: "the pooler in front of the database gives each transaction another connection",
		Hint:   "set pool_mode = session for this database in the pooler, or name the server itself in PICLOUD_DATABASE_URL",
		Err:    cause,
	}
}
