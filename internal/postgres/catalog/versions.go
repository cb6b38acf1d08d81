package catalog

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Versions are the versions of functions' code.
type Versions struct{ area }

const (
	versionColumns = `v.app, v.function, v.number, v.digest, octet_length(c.source), v.created_by, v.created_at`
	versionFrom    = ` FROM version v JOIN code c ON c.digest = v.digest WHERE v.app = $1 AND v.function = $2 `

	sqlVersionGet = `SELECT ` + versionColumns + versionFrom + `AND v.number = $3::bigint`

	// sqlPublishState is what a publication of digest $3 finds: no row when the
	// function does not exist, else the number of the live version, and the version
	// that has the code; number 0 stands for none.
	sqlPublishState = `
SELECT coalesce(f.live, 0), f.app, f.name, coalesce(v.number, 0), $3::bytea, coalesce(octet_length(c.source), 0),
       coalesce(v.created_by, ''), coalesce(v.created_at, f.created_at)
FROM function f
LEFT JOIN version v ON v.app = f.app AND v.function = f.name AND v.digest = $3
LEFT JOIN code c ON c.digest = v.digest
WHERE f.app = $1 AND f.name = $2`

	sqlVersionList = `
SELECT ` + versionColumns + versionFrom + `AND v.number < $3::bigint ORDER BY v.number DESC LIMIT $4`

	sqlVersionSource = `SELECT c.source` + versionFrom + `AND v.number = $3::bigint`

	sqlCodeAdd = `INSERT INTO code (digest, source) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	// sqlVersionAdd makes code $3, which has $5 bytes, the next version of a
	// function.
	sqlVersionAdd = `
WITH f AS (
    UPDATE function SET versions = versions + 1 WHERE app = $1 AND name = $2 RETURNING versions
)
INSERT INTO version (app, function, number, digest, created_by) SELECT $1, $2, versions, $3, $4 FROM f
RETURNING app, function, number, digest, $5::int, created_by, created_at`

	// sqlVersionPrune removes up to $2 versions that are not among the newest $1 of their
	// function, not live, and in no record of a deployment.
	sqlVersionPrune = `
WITH old AS MATERIALIZED (
    SELECT v.app, v.function, v.number FROM function f JOIN version v ON v.app = f.app AND v.function = f.name
    WHERE v.number <= f.versions - $1::int AND v.number IS DISTINCT FROM f.live AND NOT EXISTS (
        SELECT 1 FROM deployment d WHERE d.app = v.app AND d.function = v.function AND d.version = v.number)
    ORDER BY v.app, v.function, v.number LIMIT $2
)
DELETE FROM version v USING old WHERE v.app = old.app AND v.function = old.function AND v.number = old.number`

	// sqlCodeSweep removes up to $1 sources that no version has.
	sqlCodeSweep = `
DELETE FROM code WHERE digest IN (
    SELECT c.digest FROM code c WHERE NOT EXISTS (SELECT 1 FROM version v WHERE v.digest = c.digest) LIMIT $1)`

	// sqlFunctionAdd makes a function at the revision of the change.
	sqlFunctionAdd = `
INSERT INTO function (app, name, settings, rev) SELECT $1, $2, '{}', rev FROM catalog_head`
)

func versionRow(row pgx.CollectableRow) (v picloud.Version, err error) {
	var digest []byte
	if err := row.Scan(&v.App, &v.Function, &v.Number, &digest, &v.Size, &v.CreatedBy, &v.CreatedAt); err != nil {
		return v, err
	}
	v.Digest, err = readDigest(digest)
	return v, err
}

func readDigest(b []byte) (d picloud.Digest, err error) {
	if len(b) != len(d) {
		return d, fmt.Errorf("read stored digest: %d bytes", len(b))
	}
	return picloud.Digest(b), nil
}

// Publish makes source code a version of a function, and the live version when the
// publication asks for that, in one transaction. Code that is already a version of
// the function stays that version. Developers may.
func (v Versions) Publish(ctx context.Context, actor picloud.Actor, p picloud.Publication) (out picloud.Published, err error) {
	s := postgres.About("publish function", postgres.Resource(p.App, p.Function))
	if err := checkPublication(s, p); err != nil {
		return out, err
	}
	var made bool // in the present attempt at the transaction
	var makeApp func(context.Context, *postgres.Change) error
	if p.Create {
		makeApp = func(ctx context.Context, c *postgres.Change) error {
			_, err := createApp(ctx, c, p.App)
			made = err == nil
			return err
		}
	}
	_, err = v.db.ChangeOrMake(ctx, s, actor, p.App, picloud.RoleDeveloper, makeApp, func(ctx context.Context, c *postgres.Change) error {
		out, err = v.publish(ctx, c, p)
		out.AppCreated, made = made, false
		return err
	})
	if err != nil {
		return picloud.Published{}, err
	}
	return out, nil
}

func checkPublication(s postgres.Subject, p picloud.Publication) error {
	if err := picloud.CheckName("app", p.App); err != nil {
		return err
	}
	if err := picloud.CheckName("function", p.Function); err != nil {
		return err
	}
	if len(p.Source) == 0 {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: s.Op, Resource: s.Resource, Detail: "the script is empty",
			Fields: []picloud.FieldError{{Field: "source", Message: "must not be empty"}},
		}
	}
	if len(p.Source) > picloud.MaxSourceSize {
		return s.Fail(picloud.CodeSourceBounds, fmt.Sprintf("the script has %d bytes, more than %d", len(p.Source), picloud.MaxSourceSize), "")
	}
	return nil
}

// published is what a publication finds.
type published struct {
	live    int             // the live version; 0: none
	version picloud.Version // the one that has the code; number 0: none
}

func publishedRow(row pgx.CollectableRow) (p published, err error) {
	var digest []byte
	v := &p.version
	if err := row.Scan(&p.live, &v.App, &v.Function, &v.Number, &digest, &v.Size, &v.CreatedBy, &v.CreatedAt); err != nil {
		return p, err
	}
	v.Digest, err = readDigest(digest)
	return p, err
}

// publish carries out a publication within a change, in two round trips: one
// looks at the function, and one writes all that is missing.
func (a area) publish(ctx context.Context, c *postgres.Change, p picloud.Publication) (out picloud.Published, err error) {
	digest := picloud.DigestOf(p.Source)
	var found []published
	var newest []picloud.Deployment
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		postgres.AllInto(b.Queue(sqlPublishState, p.App, p.Function, digest[:]), publishedRow, &found)
		postgres.AllInto(b.Queue(sqlDeploymentNewest, p.App, p.Function), deploymentRow, &newest)
	})
	if err != nil {
		return out, err
	}
	var present published
	exists := len(found) > 0
	if exists {
		present = found[0]
	} else if !p.Create {
		return out, c.NotFound()
	}
	out.Version, out.Existing = present.version, present.version.Number > 0
	switch {
	case out.Existing && !p.Deploy:
		return out, nil
	case out.Existing && present.live == out.Version.Number:
		if len(newest) == 0 {
			return out, c.NotFound()
		}
		out.Deployment, out.Unchanged = &newest[0], true
		return out, nil
	}
	err = c.Pipeline(ctx, func(b *pgx.Batch) {
		if p.Deploy || !exists {
			c.QueueBump(b)
		}
		if !exists {
			b.Queue(sqlFunctionAdd, p.App, p.Function)
		}
		if !out.Existing {
			b.Queue(sqlCodeAdd, digest[:], p.Source)
			postgres.Into(b.Queue(sqlVersionAdd, p.App, p.Function, digest[:], c.Actor.User, len(p.Source)), versionRow, &out.Version)
		}
		if p.Deploy {
			out.Deployment = new(picloud.Deployment)
			a.queueDeploy(b, c, p.App, p.Function, out.Version.Number, false, out.Deployment)
		}
	})
	return out, err
}

// prunedAtOnce bounds how many versions Prune removes in one transaction, during which no
// deploy commits, and prunesAtOnce the transactions of one go.
const prunedAtOnce, prunesAtOnce = 1000, 20

// Prune removes old versions of functions, and code that no version has. It keeps the newest
// 1,000 versions of a function, the live one, and those that a record of a deployment names.
// It is a duty of the manager, whose epoch it proves. It returns how many versions it removed.
func (v Versions) Prune(ctx context.Context, epoch int64) (removed int64, err error) {
	for range prunesAtOnce {
		var now int64
		err := v.db.Lead(ctx, postgres.About("remove old versions", ""), epoch, func(b *pgx.Batch) {
			postgres.QueueHeadLock(b) // nobody makes a version of the code, or deploys one, meanwhile
			b.Queue(sqlVersionPrune, v.maxVersions, prunedAtOnce).Exec(func(tag pgconn.CommandTag) error { now = tag.RowsAffected(); return nil })
			b.Queue(sqlCodeSweep, prunedAtOnce)
		})
		if err != nil {
			return removed, err
		}
		if removed += now; now < prunedAtOnce {
			break
		}
	}
	return removed, nil
}

// List returns the versions of a function, newest first. Viewers may.
func (v Versions) List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Version, next string, err error) {
	s := postgres.About("list versions", postgres.Resource(app, function))
	before, err := postgres.NumberCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = postgres.ReadOf(ctx, v.db, s, actor, app, function, versionRow, sqlVersionList, before, page.Size()+1)
	items, next = postgres.Cut(page, items, func(v picloud.Version) string { return strconv.Itoa(v.Number) })
	return items, next, err
}

// Get returns one version of a function. Viewers may.
func (v Versions) Get(ctx context.Context, actor picloud.Actor, app, function string, number int) (picloud.Version, error) {
	s := postgres.About("get version", postgres.Resource(app, function, "v", number))
	if !picloud.ValidName(function) {
		return picloud.Version{}, s.NotFound()
	}
	return postgres.One(ctx, v.db, s, actor, app, versionRow, sqlVersionGet, app, function, int64(number))
}

// Source returns the code of one version. Viewers may.
func (v Versions) Source(ctx context.Context, actor picloud.Actor, app, function string, number int) ([]byte, error) {
	s := postgres.About("get code", postgres.Resource(app, function, "v", number))
	if !picloud.ValidName(function) {
		return nil, s.NotFound()
	}
	return postgres.One(ctx, v.db, s, actor, app, pgx.RowTo[[]byte], sqlVersionSource, app, function, int64(number))
}
