package catalog

import (
	"context"

	"github.com/picloud/picloud/internal/postgres"
)

const (
	// sqlFunctionServed says whether nodes have something of what goes: the
	// function, or of a whole app at least its configuration.
	sqlFunctionServed = `SELECT $2 = '' OR EXISTS (SELECT 1 FROM function WHERE app = $1 AND name = $2 AND live IS NOT NULL)`

	// sqlTombstoneAdd marks a whole app and each of its functions: the app may
	// come back without them.
	sqlTombstoneAdd = `
INSERT INTO tombstone (app, function, rev)
SELECT app, name, $3::bigint FROM function WHERE app = $1 AND ($2 = '' OR name = $2) AND live IS NOT NULL
UNION ALL SELECT $1, '', $3 WHERE $2 = ''
ON CONFLICT (app, function) DO UPDATE SET rev = excluded.rev`

	// sqlTombstonePrune keeps the newest $1 tombstones, and all others of the oldest
	// revision among them, so that the floor is a whole revision.
	sqlTombstonePrune = `
WITH cut AS (
    SELECT rev FROM tombstone ORDER BY rev DESC OFFSET $1 LIMIT 1
), gone AS (
    DELETE FROM tombstone USING cut WHERE tombstone.rev <= cut.rev
)
UPDATE catalog_head SET floor = cut.rev FROM cut WHERE floor < cut.rev`

	// sqlFunctionDelete removes functions and returns the digests of their code.
	sqlFunctionDelete = `
WITH gone AS (
    DELETE FROM function WHERE app = $1 AND ($2 = '' OR name = $2) RETURNING app, name
)
SELECT coalesce(array_agg(DISTINCT v.digest), '{}')
FROM gone JOIN version v ON v.app = gone.app AND v.function = gone.name`

	sqlCodePrune = `
DELETE FROM code WHERE digest = ANY($1) AND NOT EXISTS (SELECT 1 FROM version WHERE version.digest = code.digest)`
)

// remove removes a function, or all functions of an app when name is empty. Nodes get
// a tombstone for what they served and for the app. Code that no version uses is
// deleted.
func (a area) remove(ctx context.Context, c *postgres.Change, app, name string) error {
	var served bool
	if err := c.Tx.QueryRow(ctx, sqlFunctionServed, app, name).Scan(&served); err != nil {
		return err
	}
	if served {
		if err := c.Bump(ctx); err != nil {
			return err
		}
		if err := c.Exec(ctx, sqlTombstoneAdd, app, name, c.Rev); err != nil {
			return err
		}
		if err := c.Exec(ctx, sqlTombstonePrune, a.maxTombstones); err != nil {
			return err
		}
	}
	var digests [][]byte
	if err := c.Tx.QueryRow(ctx, sqlFunctionDelete, app, name).Scan(&digests); err != nil {
		return err
	}
	return c.Exec(ctx, sqlCodePrune, digests)
}
