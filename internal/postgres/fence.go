package postgres

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/picloud/picloud"
)

// What only the manager does is fenced: its epoch is the token that the database checks.
// Each transaction of the manager begins with sqlFence, in the round trip of the first
// statement that it has anyway. The function manages fails when the epoch is over, so that
// nothing behind it happens. Else it locks the row until the transaction ends: a node that
// takes the leadership over waits for what is under way, and after it has the leadership
// nothing of an earlier epoch commits.
const sqlFence = `SELECT manages($1)`

// What Options.Epoch says of a node that has no epoch.
const (
	// NoManager is a node that does not manage the cluster: it changes nothing.
	NoManager int64 = 0
	// Alone is a node that no other one could replace: nothing fences what it does.
	Alone int64 = -1
)

// deposed is the state that the function manages fails with.
const deposed = "PC308"

// fenceLook bounds the question why a change was broken off.
const fenceLook = 2 * time.Second

// epoch returns the epoch under which this node manages the cluster now.
func (d *DB) epoch(s Subject) (int64, error) {
	epoch := d.manages()
	if epoch == NoManager {
		return epoch, s.Deposed()
	}
	return epoch, nil
}

// queueFence makes a transaction one of the manager's. It comes first.
func queueFence(b *pgx.Batch, epoch int64) {
	if epoch != Alone {
		b.Queue(sqlFence, epoch)
	}
}

// readFence reads the result of queueFence.
func (d *DB) readFence(results pgx.BatchResults, epoch int64) error {
	if epoch == Alone {
		return nil
	}
	_, err := results.Exec()
	return d.proven(epoch, err)
}

// proven tells the node when an epoch is over.
func (d *DB) proven(epoch int64, err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == deposed && d.onDeposed != nil {
		d.onDeposed(epoch)
	}
	return err
}

// Send sends statements of the manager in one round trip, within an operation. Without a
// begin they are one transaction, each with a snapshot of its own. When the node does not
// manage the cluster it sends nothing, and when its epoch is over the database changes
// nothing; both fail with picloud.CodeDeposed.
func (d *DB) Send(ctx context.Context, pool *pgxpool.Pool, s Subject, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error {
	epoch, err := d.epoch(s)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	queueFence(b, epoch)
	queue(b)
	results := pool.SendBatch(ctx, b)
	if err := d.readFence(results, epoch); err != nil {
		_ = results.Close() // the fence's error says it
		return err
	}
	return cmp.Or(read(results), results.Close()) // closing commits
}

// Lead sends statements of a duty of the manager in one round trip, as one transaction
// under the epoch with which the duty began. Their results go to what was queued with them.
// When the epoch is over, it changes nothing and fails with picloud.CodeDeposed: the caller
// stops all its duties at once.
func (d *DB) Lead(ctx context.Context, s Subject, epoch int64, queue func(*pgx.Batch)) error {
	if epoch == NoManager {
		return s.Deposed()
	}
	return d.Run(ctx, d.node, s, func(ctx context.Context) error {
		b := &pgx.Batch{}
		queueFence(b, epoch)
		queue(b)
		return d.proven(epoch, d.node.SendBatch(ctx, b).Close()) // reads the results
	})
}

// overtaken says why a change broke off before its commit: when the leadership is another
// node's by now, that is the reason. A node that was frozen finds its connection closed,
// because the server ends sessions that hold locks and say nothing.
func (c *Change) overtaken(ctx context.Context, err error) error {
	if c.epoch == Alone || !c.held || ctx.Err() != nil || picloud.CodeOf(err) != picloud.CodeDatabaseDown {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fenceLook)
	defer cancel()
	_, asked := c.db.api.Exec(ctx, sqlFence, c.epoch)
	if picloud.CodeOf(c.Wrap(c.db.proven(c.epoch, asked))) == picloud.CodeDeposed {
		return c.Deposed()
	}
	return err
}

// Deposed says that another node has the leadership.
func (s Subject) Deposed() error {
	return &picloud.Error{
		Code: picloud.CodeDeposed, Op: s.Op, Resource: s.Resource, Detail: deposedDetail, Hint: deposedHint, RetryAfter: retryAfter,
	}
}

const (
	deposedDetail = "another node manages the cluster now"
	deposedHint   = "try again: the request goes to the manager"
)
