package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

const (
	// IsAdmin is the condition on rows of usr that the actor is a cluster admin
	// now. The rights at sign-in do not count, because a compile may lie between
	// sign-in and the write. In every statement that has this condition, $1 is the
	// result of ActingAdmin.
	IsAdmin = `name = $1 AND admin`

	// sqlAdminHold keeps the actor a cluster admin until the transaction ends.
	sqlAdminHold = `SELECT name FROM usr WHERE ` + IsAdmin + ` FOR SHARE`

	// sqlAccess finds the role of actor $2 in app $3: no row when there is no
	// such app, null when the actor is not a member.
	sqlAccess = `
SELECT CASE WHEN EXISTS (SELECT 1 FROM usr WHERE ` + IsAdmin + `) THEN 'owner' ELSE m.role::text END
FROM app a LEFT JOIN member m ON m.app = a.name AND m.usr = $2
WHERE a.name = $3`
)

// ActingAdmin returns the name of an actor that acts as cluster admin. For any other
// actor it returns the empty string, which no user has as a name.
func ActingAdmin(actor picloud.Actor) string {
	if actor.Admin {
		return actor.User
	}
	return ""
}

// scanAdmin reads the result of sqlAdminHold, and refuses an actor that is not a
// cluster admin. The statements behind it in the batch carry their own check.
func scanAdmin(s Subject, row pgx.Row) error {
	var name string
	err := row.Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return s.AdminsOnly()
	}
	return s.Wrap(err)
}

// CreateAsAdmin creates a thing that only cluster admins may create. The statement
// carries IsAdmin, and returns no row when the thing exists already.
func CreateAsAdmin[T any](ctx context.Context, d *DB, s Subject, actor picloud.Actor, row pgx.RowToFunc[T], sql string, args ...any) (out T, err error) {
	if !actor.Admin {
		return out, s.AdminsOnly()
	}
	err = d.Batch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlAdminHold, ActingAdmin(actor))
		b.Queue(sql, append([]any{ActingAdmin(actor)}, args...)...)
	}, func(results pgx.BatchResults) (err error) {
		if err := scanAdmin(s, results.QueryRow()); err != nil {
			return err
		}
		made, _ := results.Query() // the rows carry the error
		out, err = pgx.CollectExactlyOneRow(made, row)
		if errors.Is(err, pgx.ErrNoRows) {
			return s.Exists()
		}
		return err
	})
	return out, err
}

// scanRole reads the row of sqlAccess and refuses an actor whose role does not
// include need.
func scanRole(s Subject, row pgx.Row, need picloud.Role) (picloud.Role, error) {
	var role *string
	err := row.Scan(&role)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && role == nil {
		return "", s.NoApp()
	}
	if err != nil {
		return "", s.Wrap(err)
	}
	if !picloud.Role(*role).Includes(need) {
		return "", s.Forbidden(need)
	}
	return picloud.Role(*role), nil
}

// sqlFunctionExists distinguishes an empty list from a missing function.
const sqlFunctionExists = `SELECT EXISTS (SELECT 1 FROM function WHERE app = $1 AND name = $2)`

// Read collects the rows of a query on behalf of an actor who must be a member
// of the app. Both travel in one round trip.
func Read[T any](ctx context.Context, d *DB, s Subject, actor picloud.Actor, app string, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	return ReadAs(ctx, d, s, actor, app, picloud.RoleViewer, row, sql, args...)
}

// ReadAs is Read for an actor that must have the role need.
func ReadAs[T any](ctx context.Context, d *DB, s Subject, actor picloud.Actor, app string, need picloud.Role, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	items, _, err := readPart(ctx, d, s, actor, app, "", need, row, sql, args...)
	return items, err
}

// ReadOf is Read for rows that belong to a function. A function that does not exist
// is ErrNotFound. The query's first arguments are app and function, unless function
// is empty.
func ReadOf[T any](ctx context.Context, d *DB, s Subject, actor picloud.Actor, app, function string, row pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	items, _, err := readPart(ctx, d, s, actor, app, function, picloud.RoleViewer, row, sql, args...)
	return items, err
}

func readPart[T any](ctx context.Context, d *DB, s Subject, actor picloud.Actor, app, function string, need picloud.Role, row pgx.RowToFunc[T], sql string, args ...any) (items []T, role picloud.Role, err error) {
	if !picloud.ValidName(app) || function != "" && !picloud.ValidName(function) {
		return nil, "", s.NotFound()
	}
	err = d.LookBatch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlAccess, ActingAdmin(actor), actor.User, app)
		if function != "" {
			b.Queue(sqlFunctionExists, app, function)
			b.Queue(sql, append([]any{app, function}, args...)...)
		} else {
			b.Queue(sql, args...)
		}
	}, func(results pgx.BatchResults) (err error) {
		if role, err = scanRole(s, results.QueryRow(), need); err != nil {
			return err
		}
		if function != "" {
			var exists bool
			if err := results.QueryRow().Scan(&exists); err != nil || !exists {
				return cmp.Or(err, s.NotFound())
			}
		}
		found, _ := results.Query() // the rows carry the error
		items, err = pgx.CollectRows(found, row)
		return err
	})
	return items, role, err
}

// ReadJSON reads what the database keeps as jsonb.
func ReadJSON(what string, text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read stored %s: %w", what, err)
	}
	return nil
}

// One is Read for a query that finds a single row. No row is ErrNotFound.
func One[T any](ctx context.Context, d *DB, s Subject, actor picloud.Actor, app string, row pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	item, _, err := OneAndRole(ctx, d, s, actor, app, row, sql, args...)
	return item, err
}

// OneAndRole is One that also returns the actor's role in the app.
func OneAndRole[T any](ctx context.Context, d *DB, s Subject, actor picloud.Actor, app string, row pgx.RowToFunc[T], sql string, args ...any) (item T, role picloud.Role, err error) {
	items, role, err := readPart(ctx, d, s, actor, app, "", picloud.RoleViewer, row, sql, args...)
	if err == nil && len(items) == 0 {
		err = s.NotFound()
	}
	if err != nil {
		return item, "", err
	}
	return items[0], role, nil
}
