package postgres

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

const (
	// isAdmin proves, on the rows of usr, that the actor is a cluster admin now.
	// What the actor was at sign-in proves nothing: a compile may lie between.
	// $1 is what actingAdmin returns, in every statement that has this.
	isAdmin = `name = $1 AND admin`

	// sqlAdminHold keeps the actor a cluster admin until the transaction ends.
	sqlAdminHold = `SELECT name FROM usr WHERE ` + isAdmin + ` FOR SHARE`

	// sqlAccess finds the role of actor $2 in app $3: no row when there is no
	// such app, null when the actor is no member.
	sqlAccess = `
SELECT CASE WHEN EXISTS (SELECT 1 FROM usr WHERE ` + isAdmin + `) THEN 'owner' ELSE m.role::text END
FROM app a LEFT JOIN member m ON m.app = a.name AND m.usr = $2
WHERE a.name = $3`
)

// actingAdmin is the name under which an actor acts as cluster admin; empty,
// which is nobody's, for one who does not.
func actingAdmin(actor picloud.Actor) string {
	if actor.Admin {
		return actor.User
	}
	return ""
}

func (s subject) adminsOnly() error {
	return s.fail(picloud.CodeForbidden, "only cluster admins may", "ask a cluster admin")
}

// scanAdmin reads what sqlAdminHold found and refuses those who are no cluster
// admin. The statements that follow in the batch carry the check themselves.
func scanAdmin(s subject, row pgx.Row) error {
	var name string
	err := row.Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return s.adminsOnly()
	}
	return s.wrap(err)
}

// createAsAdmin makes what only cluster admins make, by a statement that
// carries isAdmin. No row of it means that the thing exists.
func createAsAdmin[T any](ctx context.Context, d *DB, s subject, actor picloud.Actor, row pgx.RowToFunc[T], sql string, args ...any) (out T, err error) {
	if !actor.Admin {
		return out, s.adminsOnly()
	}
	err = d.batch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlAdminHold, actingAdmin(actor))
		b.Queue(sql, append([]any{actingAdmin(actor)}, args...)...)
	}, func(results pgx.BatchResults) (err error) {
		if err := scanAdmin(s, results.QueryRow()); err != nil {
			return err
		}
		made, _ := results.Query() // its error is that of the rows
		out, err = pgx.CollectExactlyOneRow(made, row)
		if errors.Is(err, pgx.ErrNoRows) {
			return s.exists()
		}
		return err
	})
	return out, err
}

// scanRole reads the row of sqlAccess and refuses an actor whose role does not
// include need.
func scanRole(s subject, row pgx.Row, need picloud.Role) (picloud.Role, error) {
	var role *string
	err := row.Scan(&role)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && role == nil {
		return "", s.notFound()
	}
	if err != nil {
		return "", s.wrap(err)
	}
	if !picloud.Role(*role).Includes(need) {
		return "", s.forbidden(need)
	}
	return picloud.Role(*role), nil
}

// sqlFunctionExists tells an empty list from one of a missing function.
const sqlFunctionExists = `SELECT EXISTS (SELECT 1 FROM function WHERE app = $1 AND name = $2)`

// read collects the rows of a query on behalf of an actor who must be a member
// of the app. Both travel in one round trip.
func read[T any](ctx context.Context, d *DB, s subject, actor picloud.Actor, app string, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	return readAs(ctx, d, s, actor, app, picloud.RoleViewer, row, sql, args...)
}

// readAs is read for those who have the role need.
func readAs[T any](ctx context.Context, d *DB, s subject, actor picloud.Actor, app string, need picloud.Role, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	return readPart(ctx, d, s, actor, app, "", need, row, sql, args...)
}

// readOf is read for what belongs to a function: none is ErrNotFound. The
// query's first arguments are app and function, unless function is empty.
func readOf[T any](ctx context.Context, d *DB, s subject, actor picloud.Actor, app, function string, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	return readPart(ctx, d, s, actor, app, function, picloud.RoleViewer, row, sql, args...)
}

func readPart[T any](ctx context.Context, d *DB, s subject, actor picloud.Actor, app, function string, need picloud.Role, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	if !picloud.ValidName(app) || function != "" && !picloud.ValidName(function) {
		return nil, s.notFound()
	}
	var items []T
	err := d.batch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlAccess, actingAdmin(actor), actor.User, app)
		if function != "" {
			b.Queue(sqlFunctionExists, app, function)
			b.Queue(sql, append([]any{app, function}, args...)...)
		} else {
			b.Queue(sql, args...)
		}
	}, func(results pgx.BatchResults) (err error) {
		if _, err := scanRole(s, results.QueryRow(), need); err != nil {
			return err
		}
		if function != "" {
			var exists bool
			if err := results.QueryRow().Scan(&exists); err != nil || !exists {
				return cmp.Or(err, s.notFound())
			}
		}
		found, _ := results.Query() // its error is that of the rows
		items, err = pgx.CollectRows(found, row)
		return err
	})
	return items, err
}

// one is read for queries that find a single row: none is ErrNotFound.
func one[T any](ctx context.Context, d *DB, s subject, actor picloud.Actor, app string, row pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	items, err := read(ctx, d, s, actor, app, row, sql, args...)
	if err != nil || len(items) == 0 {
		var zero T
		if err == nil {
			err = s.notFound()
		}
		return zero, err
	}
	return items[0], nil
}
