package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Functions are the functions of apps.
type Functions struct{ db *DB }

// Functions returns the store of functions.
func (d *DB) Functions() Functions { return Functions{d} }

const (
	functionColumns = `app, name, settings, coalesce(live, 0), rev, created_at, updated_at`

	sqlFunctionCreate = `
INSERT INTO function (app, name, settings, rev) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING ` + functionColumns

	sqlFunctionGet = `SELECT ` + functionColumns + ` FROM function WHERE app = $1 AND name = $2`

	sqlFunctionList = `
SELECT ` + functionColumns + ` FROM function WHERE app = $1 AND name > $2 ORDER BY name LIMIT $3`

	sqlFunctionSettings = `
UPDATE function SET settings = $3, rev = $4, updated_at = now()
WHERE app = $1 AND name = $2 AND ($5::bigint = 0 OR rev = $5) RETURNING ` + functionColumns
)

func functionRow(row pgx.CollectableRow) (f picloud.Function, err error) {
	var settings []byte
	if err := row.Scan(&f.App, &f.Name, &settings, &f.Version, &f.Rev, &f.CreatedAt, &f.UpdatedAt); err != nil {
		return f, err
	}
	f.Settings, err = readSettings(settings)
	return f, err
}

func readSettings(text []byte) (s picloud.Settings, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read stored settings: %w", err)
	}
	return s, nil
}

func writeSettings(s picloud.Settings) ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write settings: %w", err)
	}
	return text, nil
}

// Create makes a function without code. Developers may.
func (f Functions) Create(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings) (out picloud.Function, err error) {
	s := subject{"create function", resource(app, name)}
	if err := picloud.CheckName("name", name); err != nil {
		return out, err
	}
	text, err := writeSettings(settings)
	if err != nil {
		return out, err
	}
	_, err = f.db.change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *change) error {
		if err := c.bump(ctx); err != nil {
			return err
		}
		out, err = queryOne(ctx, c.tx, functionRow, sqlFunctionCreate, app, name, text, c.rev)
		if errors.Is(err, pgx.ErrNoRows) {
			return s.exists()
		}
		return err
	})
	return out, err
}

// Get returns a function. Viewers may.
func (f Functions) Get(ctx context.Context, actor picloud.Actor, app, name string) (picloud.Function, error) {
	s := subject{"get function", resource(app, name)}
	if !picloud.ValidName(name) {
		return picloud.Function{}, s.notFound()
	}
	return one(ctx, f.db, s, actor, app, functionRow, sqlFunctionGet, app, name)
}

// List returns the functions of an app by name. Viewers may.
func (f Functions) List(ctx context.Context, actor picloud.Actor, app string, page picloud.Page) (items []picloud.Function, next string, err error) {
	s := subject{"list functions", app}
	after, err := nameCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = read(ctx, f.db, s, actor, app, functionRow, sqlFunctionList, app, after, page.Size()+1)
	items, next = cut(page, items, func(f picloud.Function) string { return f.Name })
	return items, next, err
}

// UpdateSettings replaces a function's settings when its revision is ifRev, 0
// standing for any; else it fails with ErrPrecondition. Developers may.
func (f Functions) UpdateSettings(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings, ifRev int64) (out picloud.Function, err error) {
	s := subject{"change function", resource(app, name)}
	text, err := writeSettings(settings)
	if err != nil {
		return out, err
	}
	if !picloud.ValidName(name) {
		return out, s.notFound()
	}
	_, err = f.db.change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *change) error {
		if err := c.bump(ctx); err != nil {
			return err
		}
		out, err = queryOne(ctx, c.tx, functionRow, sqlFunctionSettings, app, name, text, c.rev, ifRev)
		if errors.Is(err, pgx.ErrNoRows) {
			return c.changed(ctx, app, name)
		}
		return err
	})
	return out, err
}

// Delete removes a function with its versions and deployments when its
// revision is ifRev, 0 standing for any. It returns the catalog's revision
// without the function: the present one when no node had it. Developers may.
func (f Functions) Delete(ctx context.Context, actor picloud.Actor, app, name string, ifRev int64) (rev int64, err error) {
	s := subject{"delete function", resource(app, name)}
	if !picloud.ValidName(name) {
		return 0, s.notFound()
	}
	return f.db.change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *change) error {
		present, err := queryOne(ctx, c.tx, functionRow, sqlFunctionGet, app, name)
		if err != nil {
			return err
		}
		if ifRev != 0 && present.Rev != ifRev {
			return precondition(s)
		}
		return f.db.bury(ctx, c, app, name)
	})
}

// changed tells why a conditional update of a function found no row.
func (c *change) changed(ctx context.Context, app, name string) error {
	if _, err := queryOne(ctx, c.tx, functionRow, sqlFunctionGet, app, name); err != nil {
		return err
	}
	return precondition(c.s)
}

func precondition(s subject) error {
	return s.fail(picloud.CodePrecondition, "it has changed since you read it", "read it again and repeat the change")
}

// queryOne returns the row that a query finds, or pgx.ErrNoRows.
func queryOne[T any](ctx context.Context, tx pgx.Tx, row pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	rows, _ := tx.Query(ctx, sql, args...) // its error is that of the rows
	return pgx.CollectExactlyOneRow(rows, row)
}
