package backup_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/backup"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const (
	dead    = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11"
	host    = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12"
	late    = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a13"
	serving = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a14"
)

// opened is the database of a managed server.
func opened(t *testing.T, server *managed.Server) *store.DB {
	t.Helper()
	db, err := store.Open(postgres.Options{DSN: managed.DSN, Socket: server.Socket()})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

// TestADumpBecomesAnotherHistory: what was in the database is there again, with the rights
// of the nodes, and nothing of the lost history is taken for the present one.
func TestADumpBecomesAnotherHistory(t *testing.T) {
	ctx := t.Context()
	server := testdb.Server(t)
	db := opened(t, server)
	require.NoError(t, db.Migrate(ctx))
	testdb.AddRoot(t, db)
	admin := testdb.ClusterAdmin(t, db, "ada")
	testdb.App(t, db, "shop")
	testdb.Publish(t, db, "shop", "hello", "function handle(req) {}")
	require.NoError(t, db.Nodes().Report(ctx, picloud.Node{ID: dead, Name: "pi-1", Version: "test"}))
	testdb.Join(t, db, admin, picloud.Node{ID: host, Name: "pi-2"})
	require.NoError(t, db.Roles().Make(ctx, serving, picloud.RoleServing, ""))
	_, err := db.API().Exec(ctx, `UPDATE node SET role = 'node' WHERE id = $1`, host)
	require.NoError(t, err)
	facts, err := db.Cluster().Facts(ctx)
	require.NoError(t, err)
	_, err = db.Leadership().Acquire(ctx, facts.ID, 7, dead)
	require.NoError(t, err)
	head, incarnation := testdb.Head(t, db), testdb.Incarnation(t, db)

	path := filepath.Join(t.TempDir(), "dump")
	file, err := os.Create(path)
	require.NoError(t, err)
	defer file.Close()
	got, err := backup.Take(ctx, server, file)
	require.NoError(t, err)
	require.Equal(t, head, got.Rev)
	require.Equal(t, facts.ID, got.Cluster)
	require.Equal(t, incarnation, got.Incarnation)
	require.Equal(t, server.Version(), got.Postgres)
	require.NoError(t, backup.Fits(ctx, "", got.Postgres, got.Migration))
	require.ErrorContains(t, backup.Fits(ctx, "", "99.1", got.Migration), "PostgreSQL 99")
	require.ErrorContains(t, backup.Fits(ctx, "", got.Postgres, 999), "knows")

	ahead := time.Now().Add(1000 * time.Hour).UTC().Truncate(time.Second)
	plan := backup.Plan{
		Dir: testdb.Dir(t), Cluster: facts.ID, Host: host, Removed: []string{dead}, Rev: head + 10, Epoch: math.MaxInt64, TakenAt: ahead, NoSync: true,
		Members: []backup.Member{{ID: host, Name: "pi-2", Role: picloud.RoleManager}, {ID: late, Name: "pi-3", Role: picloud.RoleServing}, {ID: dead, Name: "pi-1", Role: picloud.RoleManager}},
	}
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	made, err := backup.Restore(ctx, file, plan)
	require.NoError(t, err)
	require.Equal(t, head+11, made.Rev)
	require.NotEqual(t, incarnation, made.Incarnation)
	require.EqualValues(t, 7, made.Term)

	again, err := managed.New(managed.Options{DataDir: plan.Dir, NoSync: true})
	require.NoError(t, err)
	require.NoError(t, again.Start(ctx))
	defer again.Stop(context.Background())
	restored := opened(t, again)
	require.NoError(t, restored.Migrate(ctx))
	require.Equal(t, made.Rev, testdb.Head(t, restored))
	require.Equal(t, testdb.Served(t, db), testdb.Served(t, restored))
	members, err := restored.Cluster().Members(ctx)
	require.NoError(t, err)
	found := map[string]bool{}
	for _, m := range members {
		found[m.ID] = !m.Removed
		if m.ID == host {
			require.Equal(t, picloud.RoleManager, m.Role, "it was promoted after the dump")
		}
	}
	var removed time.Time
	require.NoError(t, restored.API().QueryRow(ctx, `SELECT removed_at FROM removed_node WHERE id = $1`, dead).Scan(&removed))
	require.True(t, ahead.Equal(removed), "not before the dump, though the clock of this machine is behind")
	require.Equal(t, map[string]bool{dead: false, host: true, late: true}, found)
	facts, err = restored.Cluster().Facts(ctx)
	require.NoError(t, err)
	require.Equal(t, host, facts.Founder)
	require.Equal(t, picloud.CodeNotInvited, picloud.CodeOf(restored.Nodes().Report(ctx, picloud.Node{ID: dead, Name: "pi-1", Version: "test"})))
	_, err = restored.Leadership().Acquire(ctx, facts.ID, 7, host)
	require.Equal(t, picloud.CodeDeposed, picloud.CodeOf(err), "the term of the lost history is another node's")
	epoch, err := restored.Leadership().Acquire(ctx, facts.ID, 8, host)
	require.NoError(t, err)
	require.Greater(t, epoch, int64(1<<60), "a wrong one that a node tells keeps nobody from it")
	var open bool
	require.NoError(t, restored.API().QueryRow(ctx, `SELECT has_function_privilege('public', 'app_hold(text)', 'EXECUTE')`).Scan(&open))
	require.False(t, open, "what was taken from everybody stays taken")
	require.NoError(t, restored.Roles().Keep(ctx, host))
	require.NoError(t, restored.API().QueryRow(ctx, `SELECT has_table_privilege(node_role_name($1::uuid), 'function', 'SELECT')`, late).Scan(&open))
	require.True(t, open, "the nodes have their roles")

	far := plan
	far.Dir, far.Rev = testdb.Dir(t), math.MaxInt64
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	made, err = backup.Restore(ctx, file, far)
	require.NoError(t, err, "a wrong revision that a node tells keeps nobody from it")
	require.Less(t, made.Rev, int64(math.MaxInt64), "there are revisions left")
	require.Greater(t, made.Rev, head)

	plan.Dir, plan.Cluster = testdb.Dir(t), late
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	_, err = backup.Restore(ctx, file, plan)
	require.Error(t, err, "a dump of another cluster")
	require.NoError(t, os.Truncate(path, 2000))
	plan.Dir, plan.Cluster = testdb.Dir(t), facts.ID
	_, err = file.Seek(0, io.SeekStart)
	require.NoError(t, err)
	_, err = backup.Restore(ctx, file, plan)
	require.Error(t, err, "a dump that is cut short")
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

// TestADumpThatCannotBeWritten is an error.
func TestADumpThatCannotBeWritten(t *testing.T) {
	server := testdb.Server(t)
	db := opened(t, server)
	require.NoError(t, db.Migrate(t.Context()))
	_, err := backup.Take(t.Context(), server, full{})
	require.ErrorContains(t, err, "no space")
}
