package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
)

// CatalogChannel is notified with the new revision when a change of the
// catalog commits.
const CatalogChannel = "picloud_catalog"

const (
	// sqlHeadLock orders the writers of the catalog: each takes the row's lock
	// before it looks at anything else, and keeps it until it commits.
	sqlHeadLock = `SELECT rev FROM catalog_head FOR NO KEY UPDATE`

	// sqlAppLock keeps members and the app as they are while an actor who was
	// found to have a role uses it. It lets functions add keys to their store
	// meanwhile: they would else, one after the other, keep it waiting.
	sqlAppLock = `SELECT name FROM app WHERE name = $1 FOR NO KEY UPDATE`

	sqlHeadBump = `UPDATE catalog_head SET rev = rev + 1 RETURNING rev, pg_notify('picloud_catalog', rev::text)`
)

// change is a transaction that may change the catalog.
type change struct {
	s     subject
	actor picloud.Actor
	admin bool // the actor is a cluster admin, and stays one until the end
	tx    pgx.Tx
	head  int64 // the catalog's revision when the change began, if it holds the catalog's lock
	rev   int64 // the revision of this change; 0: nothing has changed yet
}

// stands returns the revision at which the change stands: its own, or when it
// changed nothing the one before it. A node that serves it serves the change.
func (c *change) stands() int64 { return cmp.Or(c.rev, c.head) }

// change runs fn in a transaction that holds the catalog's lock and the app's,
// after it has made sure that the actor has the role need there. Statements of
// fn see everything that was committed before. It returns the revision at which
// the change stands.
func (d *DB) change(ctx context.Context, s subject, actor picloud.Actor, app string, need picloud.Role, fn func(context.Context, *change) error) (rev int64, err error) {
	return d.changeOrMake(ctx, s, actor, app, need, nil, fn)
}

// changeOrMake is change that first makes an app that is missing, with makeApp,
// when makeApp is not nil and the actor is a cluster admin.
func (d *DB) changeOrMake(ctx context.Context, s subject, actor picloud.Actor, app string, need picloud.Role, makeApp, fn func(context.Context, *change) error) (rev int64, err error) {
	if !picloud.ValidName(app) {
		return 0, s.notFound()
	}
	return d.transact(ctx, s, actor, func(ctx context.Context, c *change) error {
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

// act is change for what is no part of the catalog: it leaves the catalog's
// lock alone.
func (d *DB) act(ctx context.Context, s subject, actor picloud.Actor, app string, need picloud.Role, fn func(context.Context, *change) error) error {
	if !picloud.ValidName(app) {
		return s.notFound()
	}
	_, err := d.transact(ctx, s, actor, func(ctx context.Context, c *change) error {
		if err := c.enter(ctx, app, need, false); err != nil {
			return err
		}
		return fn(ctx, c)
	})
	return err
}

// changeAsAdmin is change for what belongs to no app: the actor must be a
// cluster admin.
func (d *DB) changeAsAdmin(ctx context.Context, s subject, actor picloud.Actor, fn func(context.Context, *change) error) (rev int64, err error) {
	if !actor.Admin {
		return 0, s.adminsOnly()
	}
	return d.transact(ctx, s, actor, func(ctx context.Context, c *change) error {
		if err := c.enterAsAdmin(ctx); err != nil {
			return err
		}
		return fn(ctx, c)
	})
}

// transact runs fn in a transaction and commits it. It returns the revision at
// which the change stands.
func (d *DB) transact(ctx context.Context, s subject, actor picloud.Actor, fn func(context.Context, *change) error) (rev int64, err error) {
	err = d.run(ctx, d.api, s, func(ctx context.Context) error {
		tx, err := d.api.Begin(ctx)
		if err != nil {
			return err
		}
		defer rollback(tx)
		c := &change{s: s, actor: actor, tx: tx}
		if err := fn(ctx, c); err != nil {
			return err
		}
		rev = c.stands()
		return c.unknown(tx.Commit(ctx))
	})
	if err != nil {
		return 0, err
	}
	return rev, nil
}

// enter takes the locks, the catalog's when asked to, and checks the actor's
// role, in one round trip.
func (c *change) enter(ctx context.Context, app string, need picloud.Role, catalog bool) error {
	batch := &pgx.Batch{}
	if catalog {
		batch.Queue(sqlHeadLock)
	}
	batch.Queue(sqlAdminHold, actingAdmin(c.actor))
	batch.Queue(sqlAppLock, app)
	batch.Queue(sqlAccess, actingAdmin(c.actor), c.actor.User, app)
	results := c.tx.SendBatch(ctx, batch)
	defer results.Close()
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
	_, err := scanRole(c.s, results.QueryRow(), need)
	return err
}

// enterAsAdmin takes the catalog's lock and that of the admin's row.
func (c *change) enterAsAdmin(ctx context.Context) error {
	batch := &pgx.Batch{}
	batch.Queue(sqlHeadLock)
	batch.Queue(sqlAdminHold, actingAdmin(c.actor))
	results := c.tx.SendBatch(ctx, batch)
	defer results.Close()
	if err := results.QueryRow().Scan(&c.head); err != nil {
		return err
	}
	if err := scanAdmin(c.s, results.QueryRow()); err != nil {
		return err
	}
	c.admin = true
	return nil
}

// bump gives the change its revision and wakes the nodes when it commits. A
// change that bumps nothing leaves the catalog as it was.
func (c *change) bump(ctx context.Context) error {
	if c.rev > 0 {
		return nil
	}
	return c.tx.QueryRow(ctx, sqlHeadBump).Scan(&c.rev, nil)
}

// queueBump is bump as a part of a pipeline: the statements after it read the
// change's revision from catalog_head.
func (c *change) queueBump(b *pgx.Batch) {
	if c.rev == 0 {
		b.Queue(sqlHeadBump).QueryRow(func(row pgx.Row) error { return row.Scan(&c.rev, nil) })
	}
}

// pipeline sends several statements in one round trip. Each of them sees what
// those before it did, but their results come when all were sent: a statement
// gets no argument from one before it.
func (c *change) pipeline(ctx context.Context, queue func(*pgx.Batch)) error {
	b := &pgx.Batch{}
	queue(b)
	return c.tx.SendBatch(ctx, b).Close() // reads the results into what was queued with them
}

// into reads the one row that a queued statement returns.
func into[T any](q *pgx.QueuedQuery, row pgx.RowToFunc[T], to *T) {
	q.Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectExactlyOneRow(rows, row)
		return err
	})
}

// allInto reads the rows that a queued statement returns.
func allInto[T any](q *pgx.QueuedQuery, row pgx.RowToFunc[T], to *[]T) {
	q.Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, row)
		return err
	})
}

func (c *change) exec(ctx context.Context, sql string, args ...any) error {
	_, err := c.tx.Exec(ctx, sql, args...)
	return err
}

// unknown explains a commit that failed: when the connection broke, the server
// may have carried it out.
func (c *change) unknown(err error) error {
	if err == nil || pgconn.SafeToRetry(err) {
		return err
	}
	wrapped := c.s.wrap(err)
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
	_ = tx.Rollback(ctx) // a connection that cannot roll back is closed, which does
}

// resource names a function, or a part of one, in errors.
func resource(app, function string, part ...any) string {
	if len(part) == 0 {
		return app + "/" + function
	}
	return app + "/" + function + " " + fmt.Sprint(part...)
}
