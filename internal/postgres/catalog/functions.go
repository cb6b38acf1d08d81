package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Functions are the functions of apps.
type Functions struct{ area }

const (
	functionColumns = `app, name, settings, coalesce(live, 0), rev, created_at, updated_at`

	sqlFunctionCreate = `
INSERT INTO function (app, name, settings, rev) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING ` + functionColumns

	sqlFunctionGet = `SELECT ` + functionColumns + ` FROM function WHERE app = $1 AND name = $2`

	// sqlFunctionList returns the first $3 functions after $2, or as many of them as
	// have $4 bytes of settings, and how many the first are.
	sqlFunctionList = `
SELECT ` + functionColumns + `, found FROM (
    SELECT *, count(*) OVER () AS found, row_number() OVER (ORDER BY name) AS place, sum(octet_length(settings::text)) OVER (ORDER BY name) AS size
    FROM (SELECT * FROM function WHERE app = $1 AND name > $2 ORDER BY name LIMIT $3) AS first
) AS counted
WHERE place = 1 OR size <= $4 ORDER BY name`

	// maxListedSettings bounds the settings of one page of a list, in bytes; a page has
	// at least one function.
	maxListedSettings = 256 << 10

	sqlFunctionSettings = `
UPDATE function SET settings = $3, rev = $4, updated_at = now()
WHERE app = $1 AND name = $2 AND ($5::bigint = 0 OR rev = $5) RETURNING ` + functionColumns
)

func functionRow(row pgx.CollectableRow) (picloud.Function, error) { return scanFunction(row) }

// scanFunction reads a function, and what follows it in the row.
func scanFunction(row pgx.Row, more ...any) (f picloud.Function, err error) {
	var settings []byte
	if err := row.Scan(append([]any{&f.App, &f.Name, &settings, &f.Version, &f.Rev, &f.CreatedAt, &f.UpdatedAt}, more...)...); err != nil {
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
	s := postgres.About("create function", postgres.Resource(app, name))
	if err := picloud.CheckName("name", name); err != nil {
		return out, err
	}
	text, err := writeSettings(settings)
	if err != nil {
		return out, err
	}
	_, err = f.db.Change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		if err := c.Bump(ctx); err != nil {
			return err
		}
		out, err = postgres.QueryOne(ctx, c.Tx, functionRow, sqlFunctionCreate, app, name, text, c.Rev)
		if errors.Is(err, pgx.ErrNoRows) {
			return s.Exists()
		}
		return err
	})
	return out, err
}

// Get returns a function. Viewers may.
func (f Functions) Get(ctx context.Context, actor picloud.Actor, app, name string) (picloud.Function, error) {
	s := postgres.About("get function", postgres.Resource(app, name))
	if !picloud.ValidName(name) {
		return picloud.Function{}, s.NotFound()
	}
	return postgres.One(ctx, f.db, s, actor, app, functionRow, sqlFunctionGet, app, name)
}

// List returns the functions of an app by name. A page has at most 256 KiB of settings,
// unless the first function alone has more. Viewers may.
func (f Functions) List(ctx context.Context, actor picloud.Actor, app string, page picloud.Page) (items []picloud.Function, next string, err error) {
	s := postgres.About("list functions", app)
	after, err := postgres.NameCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	found := 0
	row := func(row pgx.CollectableRow) (picloud.Function, error) { return scanFunction(row, &found) }
	items, err = postgres.Read(ctx, f.db, s, actor, app, row, sqlFunctionList, app, after, page.Size()+1, maxListedSettings)
	if err != nil {
		return nil, "", err
	}
	if items = items[:min(len(items), page.Size())]; len(items) > 0 && len(items) < found {
		next = items[len(items)-1].Name
	}
	return items, next, nil
}

// UpdateSettings replaces a function's settings when its revision is the
// one of match; else it fails with ErrPrecondition. Developers may.
func (f Functions) UpdateSettings(ctx context.Context, actor picloud.Actor, app, name string, settings picloud.Settings, match picloud.Match) (out picloud.Function, err error) {
	s := postgres.About("change function", postgres.Resource(app, name))
	text, err := writeSettings(settings)
	if err != nil {
		return out, err
	}
	if !picloud.ValidName(name) {
		return out, s.NotFound()
	}
	_, err = f.db.Change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		if err := c.Bump(ctx); err != nil {
			return err
		}
		out, err = postgres.QueryOne(ctx, c.Tx, functionRow, sqlFunctionSettings, app, name, text, c.Rev, int64(match))
		if errors.Is(err, pgx.ErrNoRows) {
			return changed(ctx, c, app, name)
		}
		return err
	})
	return out, err
}

// Delete removes a function with its versions and deployments when its
// revision is the one of match. It returns the catalog's revision
// without the function: the present one when no node had it. Developers may.
func (f Functions) Delete(ctx context.Context, actor picloud.Actor, app, name string, match picloud.Match) (rev int64, err error) {
	s := postgres.About("delete function", postgres.Resource(app, name))
	if !picloud.ValidName(name) {
		return 0, s.NotFound()
	}
	return f.db.Change(ctx, s, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		present, err := postgres.QueryOne(ctx, c.Tx, functionRow, sqlFunctionGet, app, name)
		if err != nil {
			return err
		}
		if !match.Accepts(present.Rev) {
			return s.Precondition()
		}
		return f.remove(ctx, c, app, name)
	})
}

// changed tells why a conditional update of a function found no row.
func changed(ctx context.Context, c *postgres.Change, app, name string) error {
	if _, err := postgres.QueryOne(ctx, c.Tx, functionRow, sqlFunctionGet, app, name); err != nil {
		return err
	}
	return c.Precondition()
}
