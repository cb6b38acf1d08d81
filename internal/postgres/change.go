package postgres

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
)

// CatalogChannel is notified with the new revision when a change of the
// catalog commits.
const CatalogChannel = "picloud_catalog"

// NodeChannel is notified with the id of a node whose revision changed.
const NodeChannel = "picloud_node"

const (
	// sqlHeadLock orders the writers of the catalog: each takes the row's lock
	// before it looks at anything else, and keeps it until it commits.
	sqlHeadLock = `SELECT rev FROM catalog_head FOR NO KEY UPDATE`

	// sqlAppLock locks the app and its members, so that the actor's role stays valid
	// until the commit. A stronger lock would exclude functions that add keys to
	// their store. In a busy app one of them always runs, so the change would wait
	// for long.
	sqlAppLock = `SELECT name FROM app WHERE name = $1 FOR NO KEY UPDATE`

	sqlHeadBump = `UPDATE catalog_head SET rev = rev + 1 RETURNING rev, pg_notify('picloud_catalog', rev::text)`
)

// Change is a transaction on behalf of an actor, which may change the catalog. It is one of
// the manager's, see Options.Epoch.
type Change struct {
	Subject
	Actor picloud.Actor
	Tx    pgx.Tx
	Rev   int64 // the revision of this change; 0: nothing has changed yet

	db    *DB
	epoch int64 // under which the node manages the cluster, see Options.Epoch
	held  bool  // the epoch was the present one when the change began
	admin bool  // the actor is a cluster admin, and stays one until the end
	head  int64 // the catalog's revision when the change began, if it holds the catalog's lock
}

// stands returns the revision at which the change stands: its own, or the present
// one when the change changed nothing. A node that serves this revision serves the
// change. A caller that waits for such a node has read-your-writes.
func (c *Change) stands() int64 { return cmp.Or(c.Rev, c.head) }

// Change runs fn in a transaction that holds the catalog's lock and the app's,
// after it has made sure that the actor has the role need there. Statements of
// fn see everything that was committed before. It returns the revision at which
// the change stands.
func (d *DB) Change(ctx context.Context, s Subject, actor picloud.Actor, app string, need picloud.Role, fn func(context.Context, *Change) error) (rev int64, err error) {
	return d.ChangeOrMake(ctx, s, actor, app, need, nil, fn)
}

// ChangeOrMake is Change that first makes an app that is missing, with makeApp,
// when makeApp is not nil and the actor is a cluster admin.
func (d *DB) ChangeOrMake(ctx context.Context, s Subject, actor picloud.Actor, app string, need picloud.Role, makeApp, fn func(context.Context, *Change) error) (rev int64, err error) {
	if !picloud.ValidName(app) {
		return 0, s.NotFound()
	}
	return d.transact(ctx, s, actor, func(ctx context.Context, c *Change) error {
		err := c.enter(ctx, app, need, true)
		if makeApp != nil && c.admin && errors.Is(err, picloud.ErrNotFound) {
			err = makeApp(ctx, c)
		}
		if err != nil {
			return err
		}
		return fn(ctx, c)
	})
}

// Act is Change for data that is not part of the catalog: it leaves the catalog's
// lock alone.
func (d *DB) Act(ctx context.Context, s Subject, actor picloud.Actor, app string, need picloud.Role, fn func(context.Context, *Change) error) error {
	if !picloud.ValidName(app) {
		return s.NotFound()
	}
	_, err := d.transact(ctx, s, actor, func(ctx context.Context, c *Change) error {
		if err := c.enter(ctx, app, need, false); err != nil {
			return err
		}
		return fn(ctx, c)
	})
	return err
}

// ChangeAsAdmin is Change for what belongs to no app: the actor must be a
// cluster admin.
func (d *DB) ChangeAsAdmin(ctx context.Context, s Subject, actor picloud.Actor, fn func(context.Context, *Change) error) (rev int64, err error) {
	if !actor.Admin {
		return 0, s.AdminsOnly()
	}
	return d.transact(ctx, s, actor, func(ctx context.Context, c *Change) error {
		if err := c.enterAsAdmin(ctx); err != nil {
			return err
		}
		return fn(ctx, c)
	})
}

// transact runs fn in a transaction of the manager and commits it. It returns the
// revision at which the change stands.
func (d *DB) transact(ctx context.Context, s Subject, actor picloud.Actor, fn func(context.Context, *Change) error) (rev int64, err error) {
	committing := false // before that the server undoes what it did for a connection that breaks
	var c *Change
	err = d.run(ctx, controlTimeout, d.api, s, func() bool { return !committing }, func(ctx context.Context) (err error) {
		c, committing = &Change{Subject: s, Actor: actor, db: d}, false
		if c.epoch, err = d.epoch(s); err != nil {
			return err
		}
		if c.Tx, err = d.api.Begin(ctx); err != nil {
			return err
		}
		defer rollback(c.Tx)
		if err := fn(ctx, c); err != nil {
			return err
		}
		rev = c.stands()
		committing = true
		err = c.Tx.Commit(ctx)
		committing = !undone(err) && !pgconn.SafeToRetry(err)
		return c.unknown(err)
	})
	if err != nil && !committing {
		err = c.overtaken(ctx, err)
	}
	if err != nil {
		return 0, err
	}
	return rev, nil
}

// enter proves the epoch, takes the locks, the catalog's when asked to, and checks the
// actor's role, in one round trip.
func (c *Change) enter(ctx context.Context, app string, need picloud.Role, catalog bool) error {
	batch := &pgx.Batch{}
	queueFence(batch, c.epoch)
	if catalog {
		batch.Queue(sqlHeadLock)
	}
	batch.Queue(sqlAdminHold, ActingAdmin(c.Actor))
	batch.Queue(sqlAppLock, app)
	batch.Queue(sqlAccess, ActingAdmin(c.Actor), c.Actor.User, app)
	results := c.Tx.SendBatch(ctx, batch)
	defer results.Close() //nolint:errcheck // the errors of its statements were read
	if err := c.db.readFence(results, c.epoch); err != nil {
		return err
	}
	c.held = true
	var headErr error
	if catalog {
		headErr = results.QueryRow().Scan(&c.head)
	}
	admin, adminErr := results.Exec()
	_, appErr := results.Exec()
	if err := cmp.Or(headErr, adminErr, appErr); err != nil {
		return err
	}
	c.admin = admin.RowsAffected() == 1
	_, err := scanRole(c.Subject, results.QueryRow(), need)
	return err
}

// enterAsAdmin proves the epoch, and takes the catalog's lock and that of the admin's row.
func (c *Change) enterAsAdmin(ctx context.Context) error {
	batch := &pgx.Batch{}
	queueFence(batch, c.epoch)
	batch.Queue(sqlHeadLock)
	batch.Queue(sqlAdminHold, ActingAdmin(c.Actor))
	results := c.Tx.SendBatch(ctx, batch)
	defer results.Close() //nolint:errcheck // the errors of its statements were read
	if err := c.db.readFence(results, c.epoch); err != nil {
		return err
	}
	c.held = true
	if err := results.QueryRow().Scan(&c.head); err != nil {
		return err
	}
	if err := scanAdmin(c.Subject, results.QueryRow()); err != nil {
		return err
	}
	c.admin = true
	return nil
}

// Bump gives the change its revision and wakes the nodes when it commits. A
// change that bumps nothing leaves the catalog as it was.
func (c *Change) Bump(ctx context.Context) error {
	if c.Rev > 0 {
		return nil
	}
	return c.Tx.QueryRow(ctx, sqlHeadBump).Scan(&c.Rev, nil)
}

// QueueBump is Bump as a part of a pipeline: the statements after it read the
// change's revision from catalog_head.
func (c *Change) QueueBump(b *pgx.Batch) {
	if c.Rev == 0 {
		b.Queue(sqlHeadBump).QueryRow(func(row pgx.Row) error { return row.Scan(&c.Rev, nil) })
	}
}

// Pipeline sends several statements in one round trip. Each of them sees what
// those before it did. Their results arrive after all of them were sent, so the
// result of one statement cannot be an argument of a later one.
func (c *Change) Pipeline(ctx context.Context, queue func(*pgx.Batch)) error {
	b := &pgx.Batch{}
	queue(b)
	return c.Tx.SendBatch(ctx, b).Close() // reads the results into what was queued with them
}

// Into reads the one row that a queued statement returns.
func Into[T any](q *pgx.QueuedQuery, row pgx.RowToFunc[T], to *T) {
	q.Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectExactlyOneRow(rows, row)
		return err
	})
}

// AllInto reads the rows that a queued statement returns.
func AllInto[T any](q *pgx.QueuedQuery, row pgx.RowToFunc[T], to *[]T) {
	q.Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, row)
		return err
	})
}

// Exec runs a statement that returns no rows.
func (c *Change) Exec(ctx context.Context, sql string, args ...any) error {
	_, err := c.Tx.Exec(ctx, sql, args...)
	return err
}

// unknown explains a commit that failed: when the connection broke, the server
// may have carried it out.
func (c *Change) unknown(err error) error {
	if err == nil || pgconn.SafeToRetry(err) || undone(err) {
		return err
	}
	wrapped := c.Wrap(err)
	var e *picloud.Error
	if errors.As(wrapped, &e) && e.Code == picloud.CodeDatabaseDown {
		e.Detail = "the connection broke while the change was committed"
		e.Hint = "look whether the change is there before you repeat it"
	}
	return wrapped
}

// rollback ends a transaction that was not committed. After a commit it does
// nothing.
func rollback(tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // if it fails the connection is closed, which rolls back too
}

// QueryOne returns the row that a query finds, or pgx.ErrNoRows.
func QueryOne[T any](ctx context.Context, tx pgx.Tx, row pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	rows, _ := tx.Query(ctx, sql, args...) // the rows carry the error
	return pgx.CollectExactlyOneRow(rows, row)
}
