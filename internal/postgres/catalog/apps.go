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

// Apps are the apps of the cluster.
type Apps struct{ area }

const (
	appColumns = `name, settings, rev, created_at`

	// sqlAppCreate makes app $2, at the revision of the change, with its creator,
	// a cluster admin, as owner. It removes the tombstone of an earlier app.
	sqlAppCreate = `
WITH creator AS (
    SELECT name FROM usr WHERE ` + postgres.IsAdmin + `
), created AS (
    INSERT INTO app (name, rev) SELECT $2, catalog_head.rev FROM creator, catalog_head ON CONFLICT DO NOTHING RETURNING ` + appColumns + `
), owner AS (
    INSERT INTO member (app, usr, role, granted_by)
    SELECT created.name, creator.name, 'owner', creator.name FROM created, creator
), returned AS (
    DELETE FROM tombstone USING created WHERE app = created.name AND function = ''
)
SELECT ` + appColumns + ` FROM created`

	sqlAppGet = `SELECT ` + appColumns + ` FROM app WHERE name = $1`

	sqlAppContents = `
SELECT (SELECT count(*) FROM function WHERE app = a.name), (SELECT count(*) FROM member WHERE app = a.name),
       (SELECT count(*) FROM jsonb_object_keys(a.env)), (SELECT count(*) FROM secret WHERE app = a.name),
       (SELECT coalesce(sum(keys), 0)::bigint FROM kv_usage WHERE app = a.name)
FROM app a WHERE a.name = $1`

	sqlAppList = `
SELECT ` + appColumns + ` FROM app
WHERE name > $3 AND (EXISTS (SELECT 1 FROM usr WHERE ` + postgres.IsAdmin + `)
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
	return a, postgres.ReadJSON("settings of an app", settings, &a.Settings)
}

// Create makes an app and its creator the owner. Only cluster admins may.
func (a Apps) Create(ctx context.Context, actor picloud.Actor, name string) (out picloud.App, err error) {
	s := postgres.About("create app", name)
	if err := picloud.CheckName("name", name); err != nil {
		return out, err
	}
	_, err = a.db.ChangeAsAdmin(ctx, s, actor, func(ctx context.Context, c *postgres.Change) error {
		out, err = createApp(ctx, c, name)
		return err
	})
	return out, err
}

// createApp makes an app on behalf of a cluster admin.
func createApp(ctx context.Context, c *postgres.Change, name string) (app picloud.App, err error) {
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		c.QueueBump(b)
		postgres.Into(b.Queue(sqlAppCreate, postgres.ActingAdmin(c.Actor), name), appRow, &app)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = c.Exists()
	}
	return app, err
}

// UpdateSettings replaces an app's settings when its revision is the one of
// match; else it fails with ErrPrecondition. Settings that the app
// has already change nothing. Admins of the app may.
func (a Apps) UpdateSettings(ctx context.Context, actor picloud.Actor, app string, settings picloud.AppSettings, match picloud.Match) (out picloud.App, err error) {
	s := postgres.About("change app", app)
	if err := settings.Check(); err != nil {
		return out, err
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return out, fmt.Errorf("write settings: %w", err)
	}
	_, err = a.db.Change(ctx, s, actor, app, picloud.RoleAdmin, func(ctx context.Context, c *postgres.Change) error {
		out, err = postgres.QueryOne(ctx, c.Tx, appRow, sqlAppGet, app)
		switch {
		case err != nil:
			return err
		case !match.Accepts(out.Rev):
			return s.Precondition()
		case out.Settings == settings:
			return nil
		}
		if err := c.Bump(ctx); err != nil {
			return err
		}
		out, err = postgres.QueryOne(ctx, c.Tx, appRow, sqlAppSettings, app, text, c.Rev)
		return err
	})
	if err != nil {
		return picloud.App{}, err
	}
	return out, nil
}

// Get returns an app and the actor's role in it.
func (a Apps) Get(ctx context.Context, actor picloud.Actor, name string) (picloud.App, picloud.Role, error) {
	s := postgres.About("get app", name)
	if !picloud.ValidName(name) {
		return picloud.App{}, "", s.NotFound()
	}
	return postgres.OneAndRole(ctx, a.db, s, actor, name, appRow, sqlAppGet, name)
}

// Contents counts what an app holds. Viewers may.
func (a Apps) Contents(ctx context.Context, actor picloud.Actor, name string) (picloud.AppContents, error) {
	s := postgres.About("count contents of app", name)
	if !picloud.ValidName(name) {
		return picloud.AppContents{}, s.NotFound()
	}
	return postgres.One(ctx, a.db, s, actor, name, appContentsRow, sqlAppContents, name)
}

func appContentsRow(row pgx.CollectableRow) (c picloud.AppContents, err error) {
	err = row.Scan(&c.Functions, &c.Members, &c.Variables, &c.Secrets, &c.Keys)
	return c, err
}

// List returns the apps that the actor is a member of; all of them to cluster
// admins.
func (a Apps) List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.App, next string, err error) {
	s := postgres.About("list apps", "")
	after, err := postgres.NameCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = postgres.Rows(ctx, a.db, a.db.API(), s, appRow, sqlAppList, postgres.ActingAdmin(actor), actor.User, after, page.Size()+1)
	items, next = postgres.Cut(page, items, func(a picloud.App) string { return a.Name })
	return items, next, err
}

// Delete removes an app with all its functions, versions, members, secrets and
// keys. It returns the catalog's revision without the app. Its owners may.
func (a Apps) Delete(ctx context.Context, actor picloud.Actor, name string) (rev int64, err error) {
	s := postgres.About("delete app", name)
	return a.db.Change(ctx, s, actor, name, picloud.RoleOwner, func(ctx context.Context, c *postgres.Change) error {
		if err := a.remove(ctx, c, name, ""); err != nil {
			return err
		}
		return c.Exec(ctx, sqlAppDelete, name)
	})
}
