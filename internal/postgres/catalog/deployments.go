package catalog

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Deployments record which versions were live.
type Deployments struct{ area }

const (
	deploymentColumns = `id, app, function, version, rev, rollback, created_by, created_at, coalesce((
    SELECT p.version FROM deployment p
    WHERE p.app = deployment.app AND p.function = deployment.function AND p.id < deployment.id ORDER BY p.id DESC LIMIT 1), 0)`

	// sqlDeployState is what making a version live finds: no row when there is no
	// such function, else the live version and the newest one, each 0 when there is
	// none, and whether version $3 is there.
	sqlDeployState = `
SELECT coalesce(live, 0), versions, EXISTS (SELECT 1 FROM version v WHERE v.app = $1 AND v.function = $2 AND v.number = $3::bigint)
FROM function WHERE app = $1 AND name = $2`

	// sqlDeploymentHistory is which versions became live, the oldest first.
	sqlDeploymentHistory = `SELECT version, rollback FROM deployment WHERE app = $1 AND function = $2 ORDER BY id`

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
	err = row.Scan(&d.ID, &d.App, &d.Function, &d.Version, &d.Rev, &d.Rollback, &d.CreatedBy, &d.CreatedAt, &d.Previous)
	return d, err
}

// Deploy makes a version the live one. When it is live already, nothing
// changes and the present deployment is returned. Developers may.
func (s Deployments) Deploy(ctx context.Context, actor picloud.Actor, app, function string, version int) (out picloud.Rollout, err error) {
	sub := postgres.About("deploy function", postgres.Resource(app, function))
	if !picloud.ValidName(function) {
		return out, sub.NotFound()
	}
	_, err = s.db.Change(ctx, sub, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		out, err = s.deploy(ctx, c, app, function, version)
		return err
	})
	return out, err
}

// Rollback makes an earlier version the live one: the given one, or the one
// below the live version on the trail when it is 0. Each rollback therefore goes
// to what was live before that, and never forward. Developers may.
func (s Deployments) Rollback(ctx context.Context, actor picloud.Actor, app, function string, to int) (out picloud.Rollout, err error) {
	sub := postgres.About("roll back function", postgres.Resource(app, function))
	if !picloud.ValidName(function) {
		return out, sub.NotFound()
	}
	_, err = s.db.Change(ctx, sub, actor, app, picloud.RoleDeveloper, func(ctx context.Context, c *postgres.Change) error {
		out, err = s.rollBack(ctx, c, app, function, to)
		return err
	})
	return out, err
}

// deployable is what making a version live finds: the live version and the newest
// one, each 0 when there is none, and whether the version is there.
type deployable struct {
	live, newest int
	there        bool
}

func deployableRow(row pgx.CollectableRow) (d deployable, err error) {
	err = row.Scan(&d.live, &d.newest, &d.there)
	return d, err
}

// elsewhere says where a rollback can go that has nowhere to go back to.
func (d deployable) elsewhere() string {
	switch d.newest {
	case 0:
		return "it has no version yet; deploy one first"
	case 1:
		return "v1 is the only version; deploy another one first"
	default:
		return fmt.Sprintf("name the version to go to; the versions are v1 to v%d", d.newest)
	}
}

// has says that a version exists, or returns the error that names those that do.
// Versions count from 1. Old ones that were not live for long are removed (Versions.Prune).
func (d deployable) has(c *postgres.Change, version int) error {
	switch {
	case d.there:
		return nil
	case version >= 1 && version <= d.newest:
		return c.Fail(picloud.CodeNotFound, fmt.Sprintf("version v%d is not kept any more", version),
			"kept are the newest 1,000 versions, and those of the newest 1,000 deployments; deploy the code again")
	case d.newest == 0:
		return c.Fail(picloud.CodeNotFound, fmt.Sprintf("there is no version v%d", version), "it has no version yet; deploy one first")
	case d.newest == 1:
		return c.Fail(picloud.CodeNotFound, fmt.Sprintf("there is no version v%d", version), "the only version is v1")
	default:
		return c.Fail(picloud.CodeNotFound, fmt.Sprintf("there is no version v%d", version), fmt.Sprintf("the versions are v1 to v%d", d.newest))
	}
}

// deploy makes a version live within a change. It takes two round trips: one
// looks at the function, and one writes.
func (a area) deploy(ctx context.Context, c *postgres.Change, app, function string, version int) (out picloud.Rollout, err error) {
	var found deployable
	var newest []picloud.Deployment
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		postgres.Into(b.Queue(sqlDeployState, app, function, version), deployableRow, &found)
		postgres.AllInto(b.Queue(sqlDeploymentNewest, app, function), deploymentRow, &newest)
	})
	if err == nil {
		err = found.has(c, version)
	}
	if err != nil {
		return out, err
	}
	return a.makeLive(ctx, c, app, function, version, false, found.live, newest)
}

// rollBack makes an earlier version live within a change, in two round trips as
// deploy does.
func (a area) rollBack(ctx context.Context, c *postgres.Change, app, function string, to int) (out picloud.Rollout, err error) {
	var found deployable
	var newest []picloud.Deployment
	var history []step
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		postgres.Into(b.Queue(sqlDeployState, app, function, to), deployableRow, &found)
		postgres.AllInto(b.Queue(sqlDeploymentNewest, app, function), deploymentRow, &newest)
		postgres.AllInto(b.Queue(sqlDeploymentHistory, app, function), stepRow, &history)
	})
	if err != nil {
		return out, err
	}
	path := trailOf(history)
	if to == 0 {
		if to = path.below(); to == 0 {
			return out, c.Fail(picloud.CodeConflict, "no other version was live before", found.elsewhere())
		}
	} else if err := found.has(c, to); err != nil {
		return out, err
	}
	out, err = a.makeLive(ctx, c, app, function, to, true, found.live, newest)
	if !out.Unchanged {
		path = path.after(step{to, true})
	}
	out.RollbackTo = path.below()
	return out, err
}

// makeLive makes a version live that exists. When it is live already, nothing
// changes and the newest deployment is the answer.
func (a area) makeLive(ctx context.Context, c *postgres.Change, app, function string, version int, rollback bool, live int, newest []picloud.Deployment) (out picloud.Rollout, err error) {
	if live == version {
		if len(newest) == 0 {
			return out, c.NotFound()
		}
		return picloud.Rollout{Deployment: newest[0], Unchanged: true}, nil
	}
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		c.QueueBump(b)
		a.queueDeploy(b, c, app, function, version, rollback, &out.Deployment)
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
