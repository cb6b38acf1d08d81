package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Catalog is what nodes pull in order to serve.
type Catalog struct{ db *DB }

// Catalog returns the store of what nodes serve.
func (d *DB) Catalog() Catalog { return Catalog{d} }

// sourcesAtOnce bounds the memory of one answer: 64 scripts of 64 KiB.
const sourcesAtOnce = 64

const (
	// sqlCatalogDelta reads head, functions and tombstones in one statement, so
	// of one snapshot. Each row carries the head; a delta without changes is one
	// row with nothing else.
	sqlCatalogDelta = `
WITH head AS MATERIALIZED (
    SELECT rev, incarnation::text AS incarnation,
           incarnation::text <> $1 OR $2::bigint < floor OR $2 > rev AS whole
    FROM catalog_head
)
SELECT head.rev, head.incarnation, head.whole, c.app, c.function, coalesce(c.rev, 0), coalesce(c.version, 0), c.digest, c.settings
FROM head LEFT JOIN LATERAL (
    SELECT f.app, f.name AS function, f.rev, f.live AS version, v.digest, f.settings
    FROM function f JOIN version v ON v.app = f.app AND v.function = f.name AND v.number = f.live
    WHERE f.rev > CASE WHEN head.whole THEN -1 ELSE $2 END
    UNION ALL
    SELECT t.app, t.function, t.rev, NULL, NULL, NULL
    FROM tombstone t
    WHERE NOT head.whole AND t.rev > $2
) c ON true
ORDER BY c.rev, c.app, c.function`

	sqlCatalogSources = `SELECT digest, source FROM code WHERE digest = ANY($1)`
)

// Delta returns what changed after the revision that a node has of the given
// incarnation; the whole catalog to a node whose state it cannot continue.
func (c Catalog) Delta(ctx context.Context, incarnation string, have int64) (out picloud.Delta, err error) {
	s := subject{"pull catalog", ""}
	_, err = rows(ctx, c.db, c.db.node, s, func(row pgx.CollectableRow) (struct{}, error) {
		return struct{}{}, addToDelta(&out, row)
	}, sqlCatalogDelta, incarnation, have)
	if err != nil {
		return picloud.Delta{}, err
	}
	return out, nil
}

func addToDelta(out *picloud.Delta, row pgx.CollectableRow) error {
	var app, function *string
	var digest, settings []byte
	var r picloud.Route
	err := row.Scan(&out.Rev, &out.Incarnation, &out.Full, &app, &function, &r.Rev, &r.Version, &digest, &settings)
	if err != nil || app == nil {
		return err
	}
	r.App, r.Function = *app, *function
	if r.Version == 0 {
		out.Gone = append(out.Gone, r.Key())
		return nil
	}
	if r.Digest, err = readDigest(digest); err != nil {
		return err
	}
	if r.Settings, err = readSettings(settings); err != nil {
		return err
	}
	out.Routes = append(out.Routes, r)
	return nil
}

// Sources returns the code of the given digests. What is gone, because its
// function was deleted since the delta was pulled, is missing in the answer.
func (c Catalog) Sources(ctx context.Context, digests []picloud.Digest) (map[picloud.Digest][]byte, error) {
	s := subject{"fetch code", ""}
	out := make(map[picloud.Digest][]byte, len(digests))
	for part := range slices.Chunk(digests, sourcesAtOnce) {
		keys := make([][]byte, len(part))
		for i := range part {
			keys[i] = part[i][:]
		}
		_, err := rows(ctx, c.db, c.db.node, s, func(row pgx.CollectableRow) (struct{}, error) {
			var digest, source []byte
			if err := row.Scan(&digest, &source); err != nil {
				return struct{}{}, err
			}
			key, err := readDigest(digest)
			out[key] = source
			return struct{}{}, err
		}, sqlCatalogSources, keys)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
