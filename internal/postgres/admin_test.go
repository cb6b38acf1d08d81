package postgres_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// adminWrites lists what cluster admins may do to the cluster, and to the app blog,
// which they are not members of. Each entry has the refusal that other users get.
func adminWrites(db *store.DB) map[string]struct {
	refusal picloud.Code
	write   func(context.Context, picloud.Actor) error
} {
	publication := func(app string) picloud.Publication {
		return picloud.Publication{App: app, Function: "hello", Source: []byte("new"), Create: true, Deploy: true}
	}
	type entry = struct {
		refusal picloud.Code
		write   func(context.Context, picloud.Actor) error
	}
	return map[string]entry{
		"create app": {picloud.CodeForbidden, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Apps().Create(ctx, a, "fresh")
			return err
		}},
		"delete app": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			return testdb.ErrorOf(db.Apps().Delete(ctx, a, "blog"))
		}},
		"create user": {picloud.CodeForbidden, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Users().Create(ctx, a, "fresh", true, testdb.TokenHash())
			return err
		}},
		"replace a token": {picloud.CodeForbidden, func(ctx context.Context, a picloud.Actor) error {
			return db.Users().SetToken(ctx, a, "vera", testdb.TokenHash())
		}},
		"delete user": {picloud.CodeForbidden, func(ctx context.Context, a picloud.Actor) error {
			return db.Users().Delete(ctx, a, "vera")
		}},
		"grant": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Members().Add(ctx, a, "blog", "stan", viewer)
			return err
		}},
		"change a role": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Members().SetRole(ctx, a, "blog", "vera", owner)
			return err
		}},
		"remove a member": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			return db.Members().Remove(ctx, a, "blog", "vera")
		}},
		"publish": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Versions().Publish(ctx, a, publication("blog"))
			return err
		}},
		"publish to a new app": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Versions().Publish(ctx, a, publication("fresh"))
			return err
		}},
		"deploy": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Deployments().Deploy(ctx, a, "blog", "hello", 1)
			return err
		}},
		"roll back": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Deployments().Rollback(ctx, a, "blog", "hello", 0)
			return err
		}},
		"create function": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Functions().Create(ctx, a, "blog", "fresh", picloud.Settings{})
			return err
		}},
		"change settings": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Functions().UpdateSettings(ctx, a, "blog", "hello", picloud.Settings{Methods: []string{"GET"}}, 0)
			return err
		}},
		"delete function": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			return testdb.ErrorOf(db.Functions().Delete(ctx, a, "blog", "hello", 0))
		}},
		"change app": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Apps().UpdateSettings(ctx, a, "blog", picloud.AppSettings{KV: picloud.KVQuota{Keys: 1}}, 0)
			return err
		}},
		"change variables": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Env().Replace(ctx, a, "blog", picloud.Env{"A": "b"}, 0)
			return err
		}},
		"set data key": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.Secrets().DataKey(ctx, a, "bare", []byte("key"))
			return err
		}},
		"set secret": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			return testdb.ErrorOf(db.Secrets().Put(ctx, a, "blog", "A", []byte("sealed"), []byte("key")))
		}},
		"delete secret": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			return testdb.ErrorOf(db.Secrets().Delete(ctx, a, "blog", "OLD"))
		}},
		"set key": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			_, err := db.KV().Put(ctx, a, "blog", picloud.KVEntry{Key: "k", Value: []byte{1}}, picloud.MatchAny)
			return err
		}},
		"delete key": {picloud.CodeNotFound, func(ctx context.Context, a picloud.Actor) error {
			return db.KV().Delete(ctx, a, "blog", "old", 0)
		}},
		"change node": {picloud.CodeForbidden, func(ctx context.Context, a picloud.Actor) error {
			_, _, err := db.Nodes().ChangeLimits(ctx, a, "pi-1", testdb.ToLimits(picloud.Limits{Queue: 3}))
			return err
		}},
	}
}

// everything is all that adminWrites could change. It leaves out who the
// admins are, whom the tests change.
func everything(t *testing.T, conn *pgx.Conn) (text string) {
	t.Helper()
	require.NoError(t, conn.QueryRow(t.Context(), `
SELECT concat_ws(E'\n', (SELECT rev FROM catalog_head), (SELECT string_agg(a::text, ',' ORDER BY a) FROM app a),
    (SELECT string_agg(u::text, ',' ORDER BY u) FROM usr u WHERE name <> 'boss'), (SELECT string_agg(m::text, ',' ORDER BY m) FROM member m),
    (SELECT string_agg(f::text, ',' ORDER BY f) FROM function f), (SELECT count(*) FROM version), (SELECT count(*) FROM deployment),
    (SELECT string_agg(s::text, ',' ORDER BY s) FROM secret s), (SELECT string_agg(k::text, ',' ORDER BY k) FROM kv k), (SELECT string_agg(n::text, ',' ORDER BY n) FROM node n))`).Scan(&text))
	return text
}

// house is a database with something for each of adminWrites to change, and a
// plain connection to it.
func house(t *testing.T) (*store.DB, *pgx.Conn) {
	t.Helper()
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	testdb.Publish(t, db, "blog", "hello", "1")
	testdb.Publish(t, db, "blog", "hello", "2")
	testdb.Member(t, db, "blog", "vera", viewer)
	testdb.Member(t, db, "blog", "olga", owner)
	testdb.User(t, db, "stan")
	testdb.App(t, db, "bare")
	_, err := db.Secrets().DataKey(t.Context(), root, "blog", []byte("key"))
	require.NoError(t, err)
	require.NoError(t, testdb.ErrorOf(db.Secrets().Put(t.Context(), root, "blog", "OLD", []byte("sealed"), []byte("key"))))
	_, err = db.KV().Put(t.Context(), root, "blog", picloud.KVEntry{Key: "old", Value: []byte{1}}, picloud.MatchNone)
	require.NoError(t, err)
	require.NoError(t, db.Nodes().Report(t.Context(), picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-1"}))
	return db, testdb.Connect(t, dsn)
}

// Each of adminWrites succeeds for who is a cluster admin; the tests below
// would show nothing otherwise.
func TestAClusterAdminMayAll(t *testing.T) {
	// These do not get into each other's way, so that one house is enough.
	together := []string{"change variables", "set data key", "set secret", "delete secret", "set key", "delete key", "change node", "create user", "replace a token", "grant", "create function"}
	same, sameConn := house(t)
	sameBoss := testdb.ClusterAdmin(t, same, "boss")
	for what := range adminWrites(nil) {
		db, conn, boss := same, sameConn, sameBoss
		if !slices.Contains(together, what) {
			db, conn = house(t)
			boss = testdb.ClusterAdmin(t, db, "boss")
		}
		before := everything(t, conn)
		require.NoError(t, adminWrites(db)[what].write(t.Context(), boss), what)
		require.NotEqual(t, before, everything(t, conn), what)
	}
}

// A user can stop being a cluster admin between sign-in and the write.
func TestWhoWasAClusterAdminMayNothing(t *testing.T) {
	for name, end := range map[string]string{"deleted": `DELETE FROM usr WHERE name = 'boss'`, "demoted": `UPDATE usr SET admin = false WHERE name = 'boss'`} {
		t.Run(name, func(t *testing.T) {
			db, conn := house(t)
			boss := testdb.ClusterAdmin(t, db, "boss")
			_, err := conn.Exec(t.Context(), end)
			require.NoError(t, err)
			before := everything(t, conn)
			for what, op := range adminWrites(db) {
				testdb.RequireCode(t, op.refusal, op.write(t.Context(), boss))
				require.Equal(t, before, everything(t, conn), what)
			}
			_, _, err = db.Apps().Get(t.Context(), boss, "blog")
			testdb.RequireCode(t, picloud.CodeNotFound, err)
			users, _, err := db.Users().List(t.Context(), boss, picloud.Page{})
			require.NoError(t, err)
			require.Empty(t, users)
			apps, _, err := db.Apps().List(t.Context(), boss, picloud.Page{})
			require.NoError(t, err)
			require.Empty(t, apps)
		})
	}
}

// A write that is under way when its admin goes waits for that, and sees it:
// its snapshot is from before.
func TestAClusterAdminGoesDuringAWrite(t *testing.T) {
	db, conn := house(t)
	side := testdb.Connect(t, conn.Config().ConnString())
	for what, op := range adminWrites(db) {
		for _, end := range []string{`UPDATE usr SET admin = false WHERE name = 'boss'`, `DELETE FROM usr WHERE name = 'boss'`} {
			t.Run(what+" "+end[:6], func(t *testing.T) {
				boss := testdb.ClusterAdmin(t, db, "boss")
				before := everything(t, conn)
				defer func() { _ = db.Users().Delete(t.Context(), root, "boss") }()
				tx, err := side.Begin(t.Context())
				require.NoError(t, err)
				defer tx.Rollback(t.Context())
				_, err = tx.Exec(t.Context(), end)
				require.NoError(t, err)
				done := make(chan error, 1)
				go func() { done <- op.write(t.Context(), boss) }()
				waitsFor(t, conn, side)
				require.NoError(t, tx.Commit(t.Context()))
				testdb.RequireCode(t, op.refusal, <-done)
				require.Equal(t, before, everything(t, conn))
			})
		}
	}
}

// waitsFor returns when some statement waits for a lock that side holds.
func waitsFor(t *testing.T, conn, side *pgx.Conn) {
	t.Helper()
	require.Eventually(t, func() (waits bool) {
		err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE $1::int = ANY(pg_blocking_pids(pid)))`, int(side.PgConn().PID())).Scan(&waits)
		return err == nil && waits
	}, 5*time.Second, 2*time.Millisecond)
}

// A member who is removed while a publication waits for its turn publishes
// nothing, nor does one who was deleted.
func TestAMemberIsRemovedDuringAPublication(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *store.DB) error{
		"removed": func(t *testing.T, db *store.DB) error {
			return db.Members().Remove(t.Context(), root, "blog", "dave")
		},
		"deleted": func(t *testing.T, db *store.DB) error { return db.Users().Delete(t.Context(), root, "dave") },
	} {
		t.Run(name, func(t *testing.T) {
			db, conn := house(t)
			dave := testdb.Member(t, db, "blog", "dave", developer)
			side := testdb.Connect(t, conn.Config().ConnString())
			tx, err := side.Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), `SELECT rev FROM catalog_head FOR UPDATE`)
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() {
				_, err := db.Versions().Publish(t.Context(), dave, picloud.Publication{App: "blog", Function: "hello", Source: []byte("new"), Create: true, Deploy: true})
				done <- err
			}()
			waitsFor(t, conn, side)
			require.NoError(t, end(t, db))
			before := everything(t, conn)
			require.NoError(t, tx.Commit(t.Context()))
			testdb.RequireCode(t, picloud.CodeNotFound, <-done)
			require.Equal(t, before, everything(t, conn))
		})
	}
}
