package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Apps are the apps of the cluster.
type Apps struct{ db *DB }

// Apps returns the store of apps.
func (d *DB) Apps() Apps { return Apps{d} }

const (
	appColumns = `name, settings, rev, created_at`

	// sqlAppCreate makes app $2, at the revision of the change, with its creator,
	// a cluster admin, as owner. Nodes are no longer told that it is gone.
	sqlAppCreate = `
WITH creator AS (
    SELECT name FROM usr WHERE ` + isAdmin + `
), created AS (
    INSERT INTO app (name, rev) SELECT $2, catalog_head.rev FROM creator, catalog_head ON CONFLICT DO NOTHING RETURNING ` + appColumns + `
), owner AS (
    INSERT INTO member (app, usr, role, granted_by)
    SELECT created.name, creator.name, 'owner', creator.name FROM created, creator
), risen AS (
    DELETE FROM tombstone USING created WHERE app = created.name AND function = ''
)
SELECT ` + appColumns + ` FROM created`

	sqlAppGet = `SELECT ` + appColumns + ` FROM app WHERE name = $1`

	sqlAppList = `
SELECT ` + appColumns + ` FROM app
WHERE name > $3 AND (EXISTS (SELECT 1 FROM usr WHERE ` + isAdmin + `)
    OR EXISTS (SELECT 1 FROM member WHERE member.app = app.name AND member.usr = $2))
ORDER BY name LIMIT $4`

	sqlAppSettings = `UPDATE app SET settings = $2, rev = $3 WHERE name = $1 RETURNING ` + appColumns

	sqlAppDelete = `DELETE FROM app WHERE name = $1`
)

func appRow(row pgx.CollectableRow) (a picloud.App, err error) {
	var settings []byte
	if err := row.Scan(&a.Name, &settings, &a.Rev, &a.CreatedAt); err != nil {
		return a, err
	}
	return a, readJSON("settings of an app", settings, &a.Settings)
}

// readJSON reads what the database keeps as jsonb.
func readJSON(what string, text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read stored %s: %w", what, err)
	}
	return nil
}

// Create makes an app and its creator the owner. Only cluster admins may.
func (a Apps) Create(ctx context.Context, actor picloud.Actor, name string) (out picloud.App, err error) {
	s := subject{"create app", name}
	if err := picloud.CheckName("name", name); err != nil {
		return out, err
	}
	_, err = a.db.changeAsAdmin(ctx, s, actor, func(ctx context.Context, c *change) error {
		out, err = c.createApp(ctx, name)
		return err
	})
	return out, err
}

// createApp makes an app on behalf of a cluster admin.
func (c *change) createApp(ctx context.Context, name string) (app picloud.App, err error) {
	err = c.pipeline(ctx, func(b *pgx.Batch) {
		c.queueBump(b)
		into(b.Queue(sqlAppCreate, actingAdmin(c.actor), name), appRow, &app)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = c.s.exists()
	}
	return app, err
}

// UpdateSettings replaces an app's settings when its revision is ifRev, 0
// standing for any; else it fails with ErrPrecondition. Settings that the app
// has already change nothing. Admins of the app may.
func (a Apps) UpdateSettings(ctx context.Context, actor picloud.Actor, app string, settings picloud.AppSettings, ifRev int64) (out picloud.App, err error) {
	s := subject{"change app", app}
	if err := settings.Check(); err != nil {
		return out, err
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return out, fmt.Errorf("write settings: %w", err)
	}
	_, err = a.db.change(ctx, s, actor, app, picloud.RoleAdmin, func(ctx context.Context, c *change) error {
		out, err = queryOne(ctx, c.tx, appRow, sqlAppGet, app)
		switch {
		case err != nil:
			return err
		case ifRev != 0 && out.Rev != ifRev:
			return precondition(s)
		case out.Settings == settings:
			return nil
		}
		if err := c.bump(ctx); err != nil {
			return err
		}
		out, err = queryOne(ctx, c.tx, appRow, sqlAppSettings, app, text, c.rev)
		return err
	})
	if err != nil {
		return picloud.App{}, err
	}
	return out, nil
}

// Get returns an app and the actor's role in it.
func (a Apps) Get(ctx context.Context, actor picloud.Actor, name string) (picloud.App, picloud.Role, error) {
	s := subject{"get app", name}
	if !picloud.ValidName(name) {
		return picloud.App{}, "", s.notFound()
	}
	var app picloud.App
	var role picloud.Role
	err := a.db.batch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlAccess, actingAdmin(actor), actor.User, name)
		b.Queue(sqlAppGet, name)
	}, func(results pgx.BatchResults) (err error) {
		if role, err = scanRole(s, results.QueryRow(), picloud.RoleViewer); err != nil {
			return err
		}
		found, _ := results.Query() // its error is that of the rows
		app, err = pgx.CollectExactlyOneRow(found, appRow)
		return err
	})
	if err != nil {
		return picloud.App{}, "", err
	}
	return app, role, nil
}

// List returns the apps that the actor is a member of; all of them to cluster
// admins.
func (a Apps) List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.App, next string, err error) {
	s := subject{"list apps", ""}
	after, err := nameCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = rows(ctx, a.db, a.db.api, s, appRow, sqlAppList, actingAdmin(actor), actor.User, after, page.Size()+1)
	items, next = cut(page, items, func(a picloud.App) string { return a.Name })
	return items, next, err
}

// Delete removes an app with all its functions, versions, members, secrets and
// keys. It returns the catalog's revision without the app. Its owners may.
func (a Apps) Delete(ctx context.Context, actor picloud.Actor, name string) (rev int64, err error) {
	s := subject{"delete app", name}
	return a.db.change(ctx, s, actor, name, picloud.RoleOwner, func(ctx context.Context, c *change) error {
		if err := a.db.bury(ctx, c, name, ""); err != nil {
			return err
		}
		return c.exec(ctx, sqlAppDelete, name)
	})
}
