package catalog

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Deployments record which versions were live.
type Deployments struct{ area }

const (
	deploymentColumns = `id, app, function, version, rev, rollback, created_by, created_at`

	// sqlDeployState is what making version $3 live finds: no row when there is
	// no such function, else the live version, version $3 itself, and the one
	// that was live before the live one; each is 0 when there is none.
	sqlDeployState = `
SELECT coalesce(f.live, 0), coalesce(v.number, 0), coalesce((
    SELECT d.version FROM deployment d
    WHERE d.app = f.app AND d.function = f.name AND d.version <> coalesce(f.live, 0) ORDER BY d.id DESC LIMIT 1), 0)
FROM function f LEFT JOIN version v ON v.app = f.app AND v.function = f.name AND v.number = $3::bigint
WHERE f.app = $1 AND f.name = $2`

	sqlDeploymentGet = `
SELECT ` + deploymentColumns + ` FROM deployment WHERE app = $1 AND function = $2 AND id = $3`

	sqlDeploymentNewest = `
SELECT ` + deploymentColumns + ` FROM deployment WHERE app = $1 AND function = $2 ORDER BY id DESC LIMIT 1`

	sqlDeploymentList = `
SELECT ` + deploymentColumns + ` FROM deployment
WHERE app = $1 AND function = $2 AND id < $3 ORDER BY id DESC LIMIT $4`

	// sqlDeploy makes version $3, 0 standing for the newest, live at the revision
	// of the change: the function, its record, and no tombstone.
	sqlDeploy = `
WITH live AS (
    UPDATE function SET live = CASE WHEN $3::int = 0 THEN versions ELSE $3 END, rev = catalog_head.rev, updated_at = now()
    FROM catalog_head WHERE app = $1 AND name = $2 RETURNING function.live, function.rev
), returned AS (
    DELETE FROM tombstone WHERE app = $1 AND function = $2
)
INSERT INTO deployment (app, function, version, rev, rollback, created_by)
SELECT $1, $2, live, rev, $4, $5 FROM live RETURNING ` + deploymentColumns

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
	sub := postgres.About("deploy function", postgres.Resource(app, function, "v", version))
	if !picloud.ValidName(function) {
		return out, sub.NotFound()
	}
	_, err = s.db.Change(ctx, sub, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		if version == 0 {
			return sub.NotFound() // versions count from 1
		}
		out, err = s.deploy(ctx, c, app, function, version, false)
		return err
	})
	return out, err
}

// Rollback makes an earlier version the live one: the given one, or when it is
// 0 the one that was live before the present one. Developers may.
func (s Deployments) Rollback(ctx context.Context, actor picloud.Actor, app, function string, to int) (out picloud.Deployment, err error) {
	sub := postgres.About("roll back function", postgres.Resource(app, function))
	if !picloud.ValidName(function) {
		return out, sub.NotFound()
	}
	_, err = s.db.Change(ctx, sub, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		out, err = s.deploy(ctx, c, app, function, to, true)
		return err
	})
	return out, err
}

// deployable is what making a version live finds: the live version, the wanted
// one, and the one that was live before; each is 0 when there is none.
type deployable struct{ live, wanted, before int }

func deployableRow(row pgx.CollectableRow) (d deployable, err error) {
	err = row.Scan(&d.live, &d.wanted, &d.before)
	return d, err
}

// deploy makes a version live within a change; version 0 is the one that was
// live before the present one. It takes two round trips: one looks at the
// function, and one writes.
func (a area) deploy(ctx context.Context, c *postgres.Change, app, function string, version int, rollback bool) (out picloud.Deployment, err error) {
	var found deployable
	var newest []picloud.Deployment
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		postgres.Into(b.Queue(sqlDeployState, app, function, int64(version)), deployableRow, &found)
		postgres.AllInto(b.Queue(sqlDeploymentNewest, app, function), deploymentRow, &newest)
	})
	switch {
	case err != nil:
		return out, err
	case version == 0 && found.before == 0:
		return out, c.Fail(picloud.CodeConflict, "no other version was live before", "name the version to go to")
	case version == 0:
		version = found.before
	case found.wanted == 0:
		return out, c.NotFound()
	}
	if found.live == version {
		if len(newest) == 0 {
			return out, c.NotFound()
		}
		return newest[0], nil
	}
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		c.QueueBump(b)
		a.queueDeploy(b, c, app, function, version, rollback, &out)
	})
	return out, err
}

// queueDeploy makes a version live, 0 standing for the newest, once the change
// has its revision, and removes the records of old deployments.
func (a area) queueDeploy(b *pgx.Batch, c *postgres.Change, app, function string, version int, rollback bool, out *picloud.Deployment) {
	postgres.Into(b.Queue(sqlDeploy, app, function, version, rollback, c.Actor.User), deploymentRow, out)
	b.Queue(sqlDeploymentPrune, app, function, a.maxDeployments)
}

// Get returns one deployment of a function. Viewers may.
func (s Deployments) Get(ctx context.Context, actor picloud.Actor, app, function string, id int64) (picloud.Deployment, error) {
	sub := postgres.About("get deployment", postgres.Resource(app, function, "deployment ", id))
	if !picloud.ValidName(function) {
		return picloud.Deployment{}, sub.NotFound()
	}
	return postgres.One(ctx, s.db, sub, actor, app, deploymentRow, sqlDeploymentGet, app, function, id)
}

// List returns the deployments of a function, newest first. Viewers may.
func (s Deployments) List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Deployment, next string, err error) {
	sub := postgres.About("list deployments", postgres.Resource(app, function))
	before, err := postgres.NumberCursor(sub, page)
	if err != nil {
		return nil, "", err
	}
	items, err = postgres.ReadOf(ctx, s.db, sub, actor, app, function, deploymentRow, sqlDeploymentList, before, page.Size()+1)
	items, next = postgres.Cut(page, items, func(d picloud.Deployment) string { return strconv.FormatInt(d.ID, 10) })
	return items, next, err
}
