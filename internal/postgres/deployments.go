package postgres

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Deployments record which versions were live.
type Deployments struct{ db *DB }

// Deployments returns the store of deployments.
func (d *DB) Deployments() Deployments { return Deployments{d} }

const (
	deploymentColumns = `id, app, function, version, rev, rollback, created_by, created_at`

	sqlFunctionLive = `SELECT coalesce(live, 0) FROM function WHERE app = $1 AND name = $2`

	sqlDeploymentGet = `
SELECT ` + deploymentColumns + ` FROM deployment WHERE app = $1 AND function = $2 AND id = $3`

	sqlDeploymentNewest = `
SELECT ` + deploymentColumns + ` FROM deployment WHERE app = $1 AND function = $2 ORDER BY id DESC LIMIT 1`

	sqlDeploymentList = `
SELECT ` + deploymentColumns + ` FROM deployment
WHERE app = $1 AND function = $2 AND id < $3 ORDER BY id DESC LIMIT $4`

	// sqlDeploymentBefore finds the version that was live before $3 became so.
	sqlDeploymentBefore = `
SELECT version FROM deployment WHERE app = $1 AND function = $2 AND version <> $3 ORDER BY id DESC LIMIT 1`

	// sqlDeploy makes a version live: the function, its record, and no tombstone.
	sqlDeploy = `
WITH live AS (
    UPDATE function SET live = $3, rev = $4, updated_at = now() WHERE app = $1 AND name = $2
), risen AS (
    DELETE FROM tombstone WHERE app = $1 AND function = $2
)
INSERT INTO deployment (app, function, version, rev, rollback, created_by)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING ` + deploymentColumns

	sqlDeploymentPrune = `
DELETE FROM deployment WHERE app = $1 AND function = $2 AND id <= (
    SELECT id FROM deployment WHERE app = $1 AND function = $2 ORDER BY id DESC OFFSET $3 LIMIT 1)`
)

func deploymentRow(row pgx.CollectableRow) (d picloud.Deployment, err error) {
	err = row.Scan(&d.ID, &d.App, &d.Function, &d.Version, &d.Rev, &d.Rollback, &d.CreatedBy, &d.CreatedAt)
	return d, err
}

// Deploy makes a version the live one. When it is live already, nothing
// changes and the present deployment is returned. Developers may.
func (s Deployments) Deploy(ctx context.Context, actor picloud.Actor, app, function string, version int) (out picloud.Deployment, err error) {
	sub := subject{"deploy function", resource(app, function, "v", version)}
	if !picloud.ValidName(function) {
		return out, sub.notFound()
	}
	_, err = s.db.change(ctx, sub, actor, app, picloud.RoleDeveloper, false, func(ctx context.Context, c *change) error {
		out, err = s.db.deploy(ctx, c, app, function, version, false)
		return err
	})
	return out, err
}

// Rollback makes an earlier version the live one: the given one, or when it is
// 0 the one that was live before the present one. Developers may.
func (s Deployments) Rollback(ctx context.Context, actor picloud.Actor, app, function string, to int) (out picloud.Deployment, err error) {
	sub := subject{"roll back function", resource(app, function)}
	if !picloud.ValidName(function) {
		return out, sub.notFound()
	}
	_, err = s.db.change(ctx, sub, actor, app, picloud.RoleDeveloper, false, func(ctx context.Context, c *change) error {
		version := to
		if version == 0 {
			if version, err = c.before(ctx, app, function); err != nil {
				return err
			}
		}
		out, err = s.db.deploy(ctx, c, app, function, version, true)
		return err
	})
	return out, err
}

// before finds the version that was live before the present one.
func (c *change) before(ctx context.Context, app, function string) (version int, err error) {
	var live int
	if err := c.tx.QueryRow(ctx, sqlFunctionLive, app, function).Scan(&live); err != nil {
		return 0, err
	}
	err = c.tx.QueryRow(ctx, sqlDeploymentBefore, app, function, live).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, c.s.fail(picloud.CodeConflict, "no other version was live before", "name the version to go to")
	}
	return version, err
}

// deploy makes a version live within a change.
func (d *DB) deploy(ctx context.Context, c *change, app, function string, version int, rollback bool) (out picloud.Deployment, err error) {
	if _, err := queryOne(ctx, c.tx, versionRow, sqlVersionGet, app, function, int64(version)); err != nil {
		return out, err
	}
	var live int
	if err := c.tx.QueryRow(ctx, sqlFunctionLive, app, function).Scan(&live); err != nil {
		return out, err
	}
	if live == version {
		return queryOne(ctx, c.tx, deploymentRow, sqlDeploymentNewest, app, function)
	}
	if err := c.bump(ctx); err != nil {
		return out, err
	}
	out, err = queryOne(ctx, c.tx, deploymentRow, sqlDeploy, app, function, version, c.rev, rollback, c.actor.User)
	if err != nil {
		return out, err
	}
	return out, c.exec(ctx, sqlDeploymentPrune, app, function, d.maxDeployments)
}

// Get returns one deployment of a function. Viewers may.
func (s Deployments) Get(ctx context.Context, actor picloud.Actor, app, function string, id int64) (picloud.Deployment, error) {
	sub := subject{"get deployment", resource(app, function, "deployment ", id)}
	if !picloud.ValidName(function) {
		return picloud.Deployment{}, sub.notFound()
	}
	return one(ctx, s.db, sub, actor, app, deploymentRow, sqlDeploymentGet, app, function, id)
}

// List returns the deployments of a function, newest first. Viewers may.
func (s Deployments) List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Deployment, next string, err error) {
	sub := subject{"list deployments", resource(app, function)}
	before, err := numberCursor(sub, page)
	if err != nil {
		return nil, "", err
	}
	items, err = readOf(ctx, s.db, sub, actor, app, function, deploymentRow, sqlDeploymentList, before, page.Size()+1)
	items, next = cut(page, items, func(d picloud.Deployment) string { return strconv.FormatInt(d.ID, 10) })
	return items, next, err
}
