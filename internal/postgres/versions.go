package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Versions are the versions of functions' code.
type Versions struct{ db *DB }

// Versions returns the store of versions.
func (d *DB) Versions() Versions { return Versions{d} }

const (
	versionColumns = `v.app, v.function, v.number, v.digest, octet_length(c.source), v.created_by, v.created_at`
	versionFrom    = ` FROM version v JOIN code c ON c.digest = v.digest WHERE v.app = $1 AND v.function = $2 `

	sqlVersionGet = `SELECT ` + versionColumns + versionFrom + `AND v.number = $3::bigint`

	sqlVersionByDigest = `SELECT ` + versionColumns + versionFrom + `AND v.digest = $3`

	sqlVersionList = `
SELECT ` + versionColumns + versionFrom + `AND v.number < $3::bigint ORDER BY v.number DESC LIMIT $4`

	sqlVersionSource = `SELECT c.source` + versionFrom + `AND v.number = $3::bigint`

	sqlCodeAdd = `INSERT INTO code (digest, source) VALUES ($1, $2) ON CONFLICT DO NOTHING`

	sqlVersionAdd = `
WITH f AS (
    UPDATE function SET versions = versions + 1 WHERE app = $1 AND name = $2 RETURNING versions
)
INSERT INTO version (app, function, number, digest, created_by) SELECT $1, $2, versions, $3, $4 FROM f`
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

// Publish makes source code a version of a function, and the live one when the
// publication says so: all of it or nothing. Code that the function had before
// is the version that it was. Developers may.
func (v Versions) Publish(ctx context.Context, actor picloud.Actor, p picloud.Publication) (out picloud.Published, err error) {
	s := subject{"publish function", resource(p.App, p.Function)}
	if err := checkPublication(s, p); err != nil {
		return out, err
	}
	_, err = v.db.change(ctx, s, actor, p.App, picloud.RoleDeveloper, p.Create, func(ctx context.Context, c *change) error {
		if out, err = c.version(ctx, p); err != nil || !p.Deploy {
			return err
		}
		d, err := v.db.deploy(ctx, c, p.App, p.Function, out.Version.Number, false)
		out.Deployment = &d
		return err
	})
	if err != nil {
		return picloud.Published{}, err
	}
	return out, nil
}

func checkPublication(s subject, p picloud.Publication) error {
	if err := picloud.CheckName("app", p.App); err != nil {
		return err
	}
	if err := picloud.CheckName("function", p.Function); err != nil {
		return err
	}
	if len(p.Source) == 0 {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: s.op, Resource: s.resource, Detail: "the script is empty",
			Fields: []picloud.FieldError{{Field: "source", Message: "must not be empty"}},
		}
	}
	if len(p.Source) > picloud.MaxSourceSize {
		return s.fail(picloud.CodeSourceBounds, fmt.Sprintf("the script has %d bytes, more than %d", len(p.Source), picloud.MaxSourceSize), "")
	}
	return nil
}

// version finds or adds the version of a publication.
func (c *change) version(ctx context.Context, p picloud.Publication) (out picloud.Published, err error) {
	if err := c.function(ctx, p); err != nil {
		return out, err
	}
	digest := picloud.DigestOf(p.Source)
	out.Version, err = queryOne(ctx, c.tx, versionRow, sqlVersionByDigest, p.App, p.Function, digest[:])
	if err == nil {
		out.Existing = true
		return out, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return out, err
	}
	if err := c.exec(ctx, sqlCodeAdd, digest[:], p.Source); err != nil {
		return out, err
	}
	if err := c.exec(ctx, sqlVersionAdd, p.App, p.Function, digest[:], c.actor.User); err != nil {
		return out, err
	}
	out.Version, err = queryOne(ctx, c.tx, versionRow, sqlVersionByDigest, p.App, p.Function, digest[:])
	return out, err
}

// function makes sure that a publication's function exists.
func (c *change) function(ctx context.Context, p picloud.Publication) error {
	var exists bool
	if err := c.tx.QueryRow(ctx, sqlFunctionExists, p.App, p.Function).Scan(&exists); err != nil || exists {
		return err
	}
	if !p.Create {
		return c.s.notFound()
	}
	if err := c.bump(ctx); err != nil {
		return err
	}
	return c.exec(ctx, sqlFunctionCreate, p.App, p.Function, []byte("{}"), c.rev)
}

// List returns the versions of a function, newest first. Viewers may.
func (v Versions) List(ctx context.Context, actor picloud.Actor, app, function string, page picloud.Page) (items []picloud.Version, next string, err error) {
	s := subject{"list versions", resource(app, function)}
	before, err := numberCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = readOf(ctx, v.db, s, actor, app, function, versionRow, sqlVersionList, before, page.Size()+1)
	items, next = cut(page, items, func(v picloud.Version) string { return strconv.Itoa(v.Number) })
	return items, next, err
}

// Get returns one version of a function. Viewers may.
func (v Versions) Get(ctx context.Context, actor picloud.Actor, app, function string, number int) (picloud.Version, error) {
	s := subject{"get version", resource(app, function, "v", number)}
	if !picloud.ValidName(function) {
		return picloud.Version{}, s.notFound()
	}
	return one(ctx, v.db, s, actor, app, versionRow, sqlVersionGet, app, function, int64(number))
}

// Source returns the code of one version. Viewers may.
func (v Versions) Source(ctx context.Context, actor picloud.Actor, app, function string, number int) ([]byte, error) {
	s := subject{"get code", resource(app, function, "v", number)}
	if !picloud.ValidName(function) {
		return nil, s.notFound()
	}
	return one(ctx, v.db, s, actor, app, pgx.RowTo[[]byte], sqlVersionSource, app, function, int64(number))
}
