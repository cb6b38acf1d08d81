package keys_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/testdb"
)

// fill gives an app keys of which some have expired, counted in its usage.
const fill = `
WITH made AS (
    INSERT INTO kv (app, key, value, version, expires_at)
    SELECT $1, 'k' || i, '\x01', nextval('kv_version'), CASE WHEN i <= $3 THEN now() - interval '1 second' WHEN i % 2 = 0 THEN now() + interval '1 hour' END
    FROM generate_series(1, $2::int) i RETURNING key
)
INSERT INTO kv_usage (app, shard, keys, bytes) SELECT $1, 3, count(*), sum(octet_length(key) + 1) FROM made`

// TestTheManagerRemovesExpiredKeys: of all apps, however many, and nothing else; what it
// removes is off the app's usage. What somebody is writing stays for the next time.
func TestTheManagerRemovesExpiredKeys(t *testing.T) {
	db, _, conn := shop(t, picloud.KVQuota{})
	for _, app := range []string{"blog", "empty", "zoo"} {
		testdb.App(t, db, app)
	}
	for app, n := range map[string][2]int{"blog": {2600, 2500}, "shop": {10, 0}, "zoo": {7, 5}} {
		_, err := conn.Exec(t.Context(), fill, app, n[0], n[1])
		require.NoError(t, err)
	}
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM kv WHERE app = 'blog' AND key = 'k1' FOR UPDATE`)
	require.NoError(t, err)
	removed, err := db.KV().Sweep(t.Context(), postgres.Alone)
	require.NoError(t, err)
	require.EqualValues(t, 2499+5, removed)
	require.NoError(t, tx.Rollback(t.Context()))
	removed, err = db.KV().Sweep(t.Context(), postgres.Alone)
	require.NoError(t, err)
	require.EqualValues(t, 1, removed)

	rows, err := conn.Query(t.Context(), `
		SELECT app, keys::int, bytes::int, (SELECT count(*) FROM kv WHERE kv.app = u.app)::int, (SELECT sum(octet_length(key) + 1) FROM kv WHERE kv.app = u.app)::int
		FROM (SELECT app, sum(keys) AS keys, sum(bytes) AS bytes FROM kv_usage GROUP BY app) u ORDER BY app`)
	require.NoError(t, err)
	left := map[string]int{}
	for rows.Next() {
		var app string
		var keys, bytes, reallyKeys, reallyBytes int
		require.NoError(t, rows.Scan(&app, &keys, &bytes, &reallyKeys, &reallyBytes))
		require.Equal(t, reallyKeys, keys, app)
		require.Equal(t, reallyBytes, bytes, app)
		left[app] = keys
	}
	require.NoError(t, rows.Err())
	require.Equal(t, map[string]int{"blog": 100, "shop": 10, "zoo": 2}, left)

	_, err = conn.Exec(t.Context(), `UPDATE kv SET expires_at = now() - interval '1 second'`)
	require.NoError(t, err)
	for _, epoch := range []int64{postgres.NoManager, 7} {
		removed, err = db.KV().Sweep(t.Context(), epoch)
		testdb.RequireCode(t, picloud.CodeDeposed, err)
		require.Zero(t, removed)
	}
	var still int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM kv`).Scan(&still))
	require.Equal(t, 112, still)
}

// TestTheEndOfTheLeadershipEndsASweep: also one that waits for a lock, within a second, and
// it changes nothing.
func TestTheEndOfTheLeadershipEndsASweep(t *testing.T) {
	dsn := testdb.DSN(t)
	db, conn, watch := testdb.OpenWithRoot(t, dsn), testdb.Connect(t, dsn), testdb.Connect(t, dsn)
	testdb.App(t, db, "shop")
	_, err := conn.Exec(t.Context(), fill, "shop", 10, 10)
	require.NoError(t, err)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT FROM kv_usage FOR UPDATE`)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := db.KV().Sweep(ctx, postgres.Alone)
		done <- err
	}()
	waits := func() bool {
		var waiting int
		require.NoError(t, watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`).Scan(&waiting))
		return waiting > 0
	}
	require.Eventually(t, waits, 10*time.Second, time.Millisecond)
	cancel()
	ended := time.Now()
	require.Error(t, <-done)
	require.Eventually(t, func() bool { return !waits() }, 10*time.Second, time.Millisecond, "the server ends the statement, too")
	require.Less(t, time.Since(ended), time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
	var still int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM kv`).Scan(&still))
	require.Equal(t, 10, still)
}
