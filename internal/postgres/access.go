package postgres

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// sqlAccess finds the actor's role in an app: no row when there is no such
// app, null when the actor is no member.
const sqlAccess = `
SELECT CASE WHEN $3::boolean THEN 'owner' ELSE m.role::text END
FROM app a LEFT JOIN member m ON m.app = a.name AND m.usr = $2
WHERE a.name = $1`

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
	return readOf(ctx, d, s, actor, app, "", row, sql, args...)
}

// readOf is read for what belongs to a function: none is ErrNotFound. The
// query's first arguments are app and function, unless function is empty.
func readOf[T any](ctx context.Context, d *DB, s subject, actor picloud.Actor, app, function string, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	if !picloud.ValidName(app) || function != "" && !picloud.ValidName(function) {
		return nil, s.notFound()
	}
	var items []T
	err := d.batch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlAccess, app, actor.User, actor.Admin)
		if function != "" {
			b.Queue(sqlFunctionExists, app, function)
			b.Queue(sql, append([]any{app, function}, args...)...)
		} else {
			b.Queue(sql, args...)
		}
	}, func(results pgx.BatchResults) (err error) {
		if _, err := scanRole(s, results.QueryRow(), picloud.RoleViewer); err != nil {
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
