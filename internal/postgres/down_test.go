package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// each runs one operation of every store.
func each(ctx context.Context, db *store.DB) map[string]error {
	out := map[string]error{"ping": db.Ping(ctx), "migrate": db.Migrate(ctx)}
	_, out["create app"] = db.Apps().Create(ctx, root, "blog")
	_, _, out["get app"] = db.Apps().Get(ctx, root, "blog")
	_, _, out["list apps"] = db.Apps().List(ctx, root, picloud.Page{})
	out["delete app"] = testdb.ErrorOf(db.Apps().Delete(ctx, root, "blog"))
	_, out["grant"] = db.Members().Add(ctx, root, "blog", "ada", viewer)
	_, out["get user"] = db.Users().ByToken(ctx, testdb.TokenHash())
	_, out["bootstrap"] = db.Users().Bootstrap(ctx, "ada", testdb.TokenHash())
	out["delete user"] = db.Users().Delete(ctx, root, "ada")
	out["set token"] = db.Users().SetToken(ctx, root, "ada", testdb.TokenHash())
	_, out["get function"] = db.Functions().Get(ctx, root, "blog", "hello")
	_, out["create function"] = db.Functions().Create(ctx, root, "blog", "hello", picloud.Settings{})
	_, out["publish"] = db.Versions().Publish(ctx, root, picloud.Publication{App: "blog", Function: "hello", Source: []byte("x"), Create: true})
	_, out["roll back"] = db.Deployments().Rollback(ctx, root, "blog", "hello", 0)
	_, _, out["list deployments"] = db.Deployments().List(ctx, root, "blog", "hello", picloud.Page{})
	_, out["delta"] = db.Catalog().Delta(ctx, "", "", 0)
	_, out["sources"] = db.Catalog().Sources(ctx, []picloud.Digest{{}})
	out["report"] = db.Nodes().Report(ctx, picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-1"})
	_, out["list nodes"] = db.Nodes().List(ctx)
	_, _, out["limit node"] = db.Nodes().ChangeLimits(ctx, root, "pi-1", testdb.ToLimits(picloud.Limits{}))
	_, out["change app"] = db.Apps().UpdateSettings(ctx, root, "blog", picloud.AppSettings{}, 0)
	_, _, out["get variables"] = db.Env().Get(ctx, root, "blog")
	_, out["change variables"] = db.Env().Replace(ctx, root, "blog", nil, 0)
	_, out["list secrets"] = db.Secrets().List(ctx, root, "blog")
	_, out["data key"] = db.Secrets().DataKey(ctx, root, "blog", []byte("key"))
	out["set secret"] = testdb.ErrorOf(db.Secrets().Put(ctx, root, "blog", "A", []byte("sealed"), nil))
	out["delete secret"] = testdb.ErrorOf(db.Secrets().Delete(ctx, root, "blog", "A"))
	_, out["get key"] = db.KV().Get(ctx, root, "blog", "k")
	_, out["put key"] = db.KV().Put(ctx, root, "blog", picloud.KVEntry{Key: "k", Value: []byte{1}}, picloud.MatchNone)
	out["drop key"] = db.KV().Delete(ctx, root, "blog", "k", 0)
	_, _, out["list keys"] = db.KV().List(ctx, root, "blog", "", picloud.Page{})
	_, out["key id"] = db.Cluster().KeyID(ctx)
	_, out["claim key id"] = db.Cluster().ClaimKeyID(ctx, "00000000000000000000000000000000")
	store := db.KV().Of("blog", picloud.KVQuota{})
	_, _, out["kv get"] = store.Get(ctx, "k", nil)
	_, out["kv set"] = store.Set(ctx, "k", []byte{1}, 0)
	_, out["kv cas"] = store.CompareAndSet(ctx, "k", 0, []byte{1}, 0)
	_, out["kv incr"] = store.Increment(ctx, "k", 1, 0)
	_, out["kv delete"] = store.Delete(ctx, "k", 0)
	_, _, out["kv list"] = store.List(ctx, "", 10, "", nil)
	return out
}

func TestEveryOperationSaysThatTheDatabaseIsDown(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	require.NoError(t, err)
	defer deaf.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	hangup, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := hangup.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	})
	defer wg.Wait()
	defer hangup.Close()

	for name, dsn := range map[string]string{
		"nobody listens":  "postgres://u:hunter2@" + closed.Addr().String() + "/db",
		"no socket":       "postgres://u:hunter2@/db?host=" + t.TempDir(),
		"it hangs up":     "postgres://u:hunter2@" + hangup.Addr().String() + "/db?sslmode=disable",
		"several, all so": "postgres://u:hunter2@" + closed.Addr().String() + "," + closed.Addr().String() + "/db?sslmode=disable",
	} {
		t.Run(name, func(t *testing.T) {
			db, err := store.Open(postgres.Options{DSN: dsn})
			require.NoError(t, err)
			defer db.Close()
			for op, err := range each(t.Context(), db) {
				require.Error(t, err, op)
				testdb.RequireDown(t, err)
				require.NotContains(t, err.Error(), "hunter2")
			}
		})
	}
	t.Run("no answer", func(t *testing.T) {
		db, err := store.Open(postgres.Options{DSN: "postgres://u:hunter2@" + deaf.Addr().String() + "/db?connect_timeout=1"})
		require.NoError(t, err)
		defer db.Close()
		testdb.RequireDown(t, db.Ping(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		testdb.RequireDown(t, db.Ping(ctx))
	})
}

func TestADatabaseThatIsLockedUpTimesOut(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.OpenWithRoot(t, dsn)
	db, err := store.Open(postgres.Options{DSN: dsn, StatementTimeout: 200 * time.Millisecond})
	require.NoError(t, err)
	defer db.Close()
	testdb.App(t, db, "blog")
	conn := testdb.Connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK catalog_head, app`)
	require.NoError(t, err)
	_, err = db.Functions().Create(t.Context(), root, "blog", "hello", picloud.Settings{})
	testdb.RequireDown(t, err)
	_, _, err = db.Apps().List(t.Context(), root, picloud.Page{})
	testdb.RequireDown(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = db.Functions().Create(t.Context(), root, "blog", "hello", picloud.Settings{})
	require.NoError(t, err)
}

func TestABadDSNTellsNothingOfItself(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:hunter2@h:port/db", "postgres://u:hunter2@%zz/db", "host=h password=hunter2 port=x", "u:hunter2",
		"postgres://u:hunter2@h/db?sslmode=hunter2", "postgres://u:hunter2@h/db?target_session_attrs=hunter2",
	} {
		_, err := store.Open(postgres.Options{DSN: dsn})
		testdb.RequireCode(t, picloud.CodeInvalid, err)
		require.NotContains(t, fmt.Sprintf("%v %+v", err, err), "hunter2")
	}
	_, err := store.Open(postgres.Options{})
	require.Error(t, err)
}

func TestTheHostThatAnswersIsUsed(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	_, port, err := net.SplitHostPort(closed.Addr().String())
	require.NoError(t, err)
	c, err := pgx.ParseConfig(testdb.DSN(t))
	require.NoError(t, err)
	dsn := fmt.Sprintf("host=127.0.0.1,%s port=%s,%d user=%s password='%s' dbname=%s search_path=%s sslmode=disable",
		c.Host, port, c.Port, c.User, c.Password, c.Database, c.RuntimeParams["search_path"])
	db := testdb.OpenWithRoot(t, dsn)
	testdb.App(t, db, "blog")
}

// The server is killed again and again while clients publish. Everything that
// was acknowledged is there, and nothing is there by half.
func TestKillingTheServerLosesNothing(t *testing.T) {
	server := testdb.Server(t)
	db := testdb.OpenWithRoot(t, server.DSN())
	testdb.App(t, db, "blog")
	const clients, kills = 4, 4
	acknowledged := make([]map[int]string, clients)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for c := range clients {
		acknowledged[c] = map[int]string{}
		name := fmt.Sprintf("f-%d", c)
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				source := fmt.Sprintf("%s source %d", name, n)
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				p, err := db.Versions().Publish(ctx, root, picloud.Publication{App: "blog", Function: name, Source: []byte(source), Create: true, Deploy: true})
				cancel()
				switch {
				case err == nil:
					acknowledged[c][p.Version.Number] = source
				case errors.Is(err, picloud.ErrUnavailable):
				default:
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	for range kills {
		before := testdb.Head(t, db)
		require.Eventually(t, func() bool {
			d, err := db.Catalog().Delta(t.Context(), "", "", 0)
			return err == nil && d.Rev >= before+20
		}, time.Minute, 5*time.Millisecond)
		killed := server.PID()
		testdb.Kill(t, server)
		require.Eventually(t, func() bool { // its processes answer on for a moment
			pid := server.PID()
			return pid != 0 && pid != killed && db.Ping(t.Context()) == nil
		}, time.Minute, 10*time.Millisecond)
	}
	close(stop)
	wg.Wait()

	live := testdb.Served(t, db)
	total := 0
	for c := range clients {
		name := fmt.Sprintf("f-%d", c)
		newest := 0
		for number, source := range acknowledged[c] {
			got, err := db.Versions().Source(t.Context(), root, "blog", name, number)
			require.NoError(t, err)
			require.Equal(t, source, string(got))
			newest = max(newest, number)
			total++
		}
		require.GreaterOrEqual(t, live["blog/"+name], newest)
		versions, _, err := db.Versions().List(t.Context(), root, "blog", name, picloud.Page{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, versions[0].Number, live["blog/"+name], "no version without its deployment")
	}
	t.Logf("%d publications acknowledged around %d kills", total, kills)
}
