package catalog

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Catalog is what nodes pull in order to serve.
type Catalog struct{ area }

// sourcesAtOnce bounds the memory of one answer: 64 scripts of 64 KiB.
const sourcesAtOnce = 64

const (
	// sqlCatalogDelta reads head, functions, apps, tombstones and what was set of
	// node $3 in one statement, and so from one snapshot. Each row carries the head.
	// A delta without changes is one row that has the head only.
	sqlCatalogDelta = `
WITH head AS MATERIALIZED (
    SELECT h.rev, incarnation::text AS incarnation,
           incarnation::text <> $1 OR $2::bigint < floor OR $2 > h.rev AS whole,
           n.limits, n.drained_at IS NOT NULL AS drained
    FROM catalog_head h LEFT JOIN node n ON n.id::text = $3
)
SELECT head.rev, head.incarnation, head.whole, head.limits, head.drained, coalesce(c.kind, ''), coalesce(c.app, ''), coalesce(c.function, ''),
       coalesce(c.Rev, 0), coalesce(c.version, 0), c.digest, c.settings, c.env, c.data_key, c.names, c.sealed
FROM head LEFT JOIN LATERAL (
    SELECT 'route' AS kind, f.app, f.name AS function, f.rev, f.live AS version, v.digest, f.settings,
           NULL::jsonb AS env, NULL::bytea AS data_key, NULL::text[] AS names, NULL::bytea[] AS sealed
    FROM function f JOIN version v ON v.app = f.app AND v.function = f.name AND v.number = f.live
    WHERE f.rev > CASE WHEN head.whole THEN -1 ELSE $2 END
    UNION ALL
    SELECT 'app', a.name, NULL, a.rev, NULL, NULL, a.settings, a.env, a.data_key, s.names, s.sealed
    FROM app a, LATERAL (
        SELECT array_agg(name ORDER BY name) AS names, array_agg(sealed ORDER BY name) AS sealed FROM secret WHERE app = a.name
    ) s
    WHERE a.rev > CASE WHEN head.whole THEN -1 ELSE $2 END
    UNION ALL
    SELECT 'gone', t.app, t.function, t.rev, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM tombstone t
    WHERE NOT head.whole AND t.rev > $2
) c ON true
ORDER BY c.Rev, c.app, c.function`

	sqlCatalogHead = `SELECT rev FROM catalog_head`

	sqlCatalogSources = `SELECT digest, source FROM code WHERE digest = ANY($1)`
)

// Delta returns what changed after the revision that a node has of the given
// incarnation. If the node's state cannot be continued, Delta returns the whole
// catalog. The limits are those of the node with the given id. An unknown node has
// no limits.
func (c Catalog) Delta(ctx context.Context, node, incarnation string, have int64) (out picloud.Delta, err error) {
	s := postgres.About("pull catalog", "")
	err = c.db.Look(ctx, c.db.Duties(), s, func(ctx context.Context) error {
		out = picloud.Delta{}                                                          // it may be the second attempt
		found, _ := c.db.Duties().Query(ctx, sqlCatalogDelta, incarnation, have, node) // the rows carry the error
		_, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (struct{}, error) {
			return struct{}{}, addToDelta(&out, row)
		})
		return err
	})
	if err != nil {
		return picloud.Delta{}, err
	}
	return out, nil
}

// deltaRow is a change of the catalog: a route, an app or a tombstone.
type deltaRow struct {
	kind, app, function                string
	rev                                int64
	version                            int
	limits, digest, settings, env, key []byte
	names                              []string
	sealed                             [][]byte
}

// Head returns the present revision. A node that serves it serves everything that
// was committed before.
func (c Catalog) Head(ctx context.Context) (rev int64, err error) {
	revs, err := postgres.Rows(ctx, c.db, c.db.API(), postgres.About("read catalog", ""), pgx.RowTo[int64], sqlCatalogHead)
	if err != nil {
		return 0, err
	}
	return revs[0], nil
}

func addToDelta(out *picloud.Delta, row pgx.CollectableRow) error {
	var r deltaRow
	err := row.Scan(&out.Rev, &out.Incarnation, &out.Full, &r.limits, &out.Drained, &r.kind, &r.app, &r.function,
		&r.rev, &r.version, &r.digest, &r.settings, &r.env, &r.key, &r.names, &r.sealed)
	if err != nil {
		return err
	}
	if r.limits != nil && out.Limits == (picloud.Limits{}) {
		if err := postgres.ReadJSON("limits of a node", r.limits, &out.Limits); err != nil {
			return err
		}
	}
	switch r.kind {
	case "route":
		route, err := r.route()
		out.Routes = append(out.Routes, route)
		return err
	case "app":
		config, err := r.config()
		out.Apps = append(out.Apps, config)
		return err
	case "gone":
		out.Gone = append(out.Gone, picloud.RouteKey{App: r.app, Function: r.function})
	}
	return nil
}

func (r *deltaRow) route() (out picloud.Route, err error) {
	out = picloud.Route{App: r.app, Function: r.function, Version: r.version, Rev: r.rev}
	if out.Digest, err = readDigest(r.digest); err != nil {
		return out, err
	}
	out.Settings, err = readSettings(r.settings)
	return out, err
}

func (r *deltaRow) config() (out picloud.AppConfig, err error) {
	out = picloud.AppConfig{App: r.app, Key: r.key, Rev: r.rev}
	if err := postgres.ReadJSON("settings of an app", r.settings, &out.Settings); err != nil {
		return out, err
	}
	if out.Env, err = readEnv(r.env); err != nil || len(r.names) == 0 {
		return out, err
	}
	out.Secrets = make(map[string][]byte, len(r.names))
	for i, name := range r.names {
		out.Secrets[name] = r.sealed[i]
	}
	return out, nil
}

// Sources returns the code of the given digests. Code is missing in the answer if its
// function was deleted after the delta was pulled.
func (c Catalog) Sources(ctx context.Context, digests []picloud.Digest) (map[picloud.Digest][]byte, error) {
	s := postgres.About("fetch code", "")
	out := make(map[picloud.Digest][]byte, len(digests))
	for part := range slices.Chunk(digests, sourcesAtOnce) {
		keys := make([][]byte, len(part))
		for i := range part {
			keys[i] = part[i][:]
		}
		_, err := postgres.Rows(ctx, c.db, c.db.Duties(), s, func(row pgx.CollectableRow) (struct{}, error) {
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
