package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// What only the manager does is fenced: its epoch is the token that the database
// checks. A statement of the manager is put together as
//
//	sqlX = postgres.Fence + `, done AS (
//	    DELETE FROM … WHERE … AND EXISTS (SELECT 1 FROM fence) RETURNING 1
//	)` + postgres.Fenced
//
// and sent by DB.Lead, which gives the epoch as $1. It is one statement, committed by
// itself: a manager that is paused in the middle of it holds no lock for long. The
// lock on the row lets a node that takes the leadership over wait for the statements
// under way, so that none of an earlier epoch commits after the node has its own.
const (
	// Fence begins a statement of the manager. It is empty when the epoch is over.
	Fence = `WITH fence AS MATERIALIZED (SELECT epoch FROM leadership WHERE epoch = $1 FOR SHARE)`

	// Fenced ends a statement of the manager. It tells a deposed manager from one that
	// found nothing to do.
	Fenced = ` SELECT EXISTS (SELECT 1 FROM fence), (SELECT count(*) FROM done)`

	sqlFenceHold = `SELECT epoch FROM leadership WHERE epoch = $1 FOR SHARE`
)

// Lead performs one statement of the manager, made of Fence and Fenced, and returns
// how many rows it changed. When the epoch is over, it changes nothing and fails
// with picloud.CodeDeposed: the caller stops all its duties at once.
func (d *DB) Lead(ctx context.Context, s Subject, epoch int64, sql string, args ...any) (rows int64, err error) {
	all := append([]any{epoch}, args...)
	err = d.Run(ctx, d.node, s, func(ctx context.Context) error {
		var leads bool
		if err := d.node.QueryRow(ctx, sql, all...).Scan(&leads, &rows); err != nil {
			return err
		}
		if !leads {
			return s.Deposed()
		}
		return nil
	})
	return rows, err
}

// Hold makes a change one of the manager's: it fails with picloud.CodeDeposed when the
// epoch is over, and keeps the leadership where it is until the change ends. Use it for
// changes of several statements; it comes first, before the change locks anything else.
func Hold(ctx context.Context, s Subject, tx pgx.Tx, epoch int64) error {
	tag, err := tx.Exec(ctx, sqlFenceHold, epoch)
	if err == nil && tag.RowsAffected() == 0 {
		err = s.Deposed()
	}
	return err
}

// Deposed says that another node has the leadership.
func (s Subject) Deposed() error {
	return &picloud.Error{
		Code: picloud.CodeDeposed, Op: s.Op, Resource: s.Resource, Detail: "another node manages the cluster now",
		Hint: "try again: the request goes to the manager", RetryAfter: retryAfter,
	}
}
