package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Apps are the apps of the cluster.
type Apps struct{ db *DB }

// Apps returns the store of apps.
func (d *DB) Apps() Apps { return Apps{d} }

const (
	// sqlAppCreate makes app $2 with its creator, a cluster admin, as owner.
	sqlAppCreate = `
WITH creator AS (
    SELECT name FROM usr WHERE ` + isAdmin + `
), created AS (
    INSERT INTO app (name) SELECT $2 FROM creator ON CONFLICT DO NOTHING RETURNING name, created_at
), owner AS (
    INSERT INTO member (app, usr, role, granted_by)
    SELECT created.name, creator.name, 'owner', creator.name FROM created, creator
)
SELECT name, created_at FROM created`

	sqlAppGet = `SELECT name, created_at FROM app WHERE name = $1`

	sqlAppList = `
SELECT name, created_at FROM app
WHERE name > $3 AND (EXISTS (SELECT 1 FROM usr WHERE ` + isAdmin + `)
    OR EXISTS (SELECT 1 FROM member WHERE member.app = app.name AND member.usr = $2))
ORDER BY name LIMIT $4`

	sqlAppDelete = `DELETE FROM app WHERE name = $1`
)

func appRow(row pgx.CollectableRow) (a picloud.App, err error) {
	err = row.Scan(&a.Name, &a.CreatedAt)
	return a, err
}

// Create makes an app and its creator the owner. Only cluster admins may.
func (a Apps) Create(ctx context.Context, actor picloud.Actor, name string) (picloud.App, error) {
	s := subject{"create app", name}
	if err := picloud.CheckName("name", name); err != nil {
		return picloud.App{}, err
	}
	return createAsAdmin(ctx, a.db, s, actor, appRow, sqlAppCreate, name)
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

// Delete removes an app with all its functions, versions and members. Its
// owners may.
func (a Apps) Delete(ctx context.Context, actor picloud.Actor, name string) error {
	s := subject{"delete app", name}
	return a.db.change(ctx, s, actor, name, picloud.RoleOwner, false, func(ctx context.Context, c *change) error {
		if err := a.db.bury(ctx, c, name, ""); err != nil {
			return err
		}
		return c.exec(ctx, sqlAppDelete, name)
	})
}
