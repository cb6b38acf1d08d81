package postgres_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/types"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// writes finds what a statement changes. Functions of the schema that write have their names here.
var writes = regexp.MustCompile(`(?i)\b(INSERT\s+INTO|DELETE\s+FROM|UPDATE\s+[a-z_]+(\s+[a-z]+)?\s+SET|MERGE\s+INTO|TRUNCATE|ALTER|DO\s+\$|node_report\(|node_stop\(|pg_terminate_backend\()`)

// anyNode are the statements that change something and carry no epoch, each with the reason.
var anyNode = map[string]string{
	"keys.sqlKVPut":                  "functions write keys on every node; KV.Put sends it within Act",
	"keys.sqlKVIncrement":            "functions write keys on every node",
	"keys.sqlKVDelete":               "functions write keys on every node; KV.Delete sends it within Act",
	"keys.sqlKVSweep":                "it removes what is there for nobody, so that a key has room",
	"people.sqlUserBootstrap":        "a node's first start: it does nothing when there is any user",
	"people.sqlUserSetToken":         "who owns a node's machine replaces a token there (SetOwnToken); SetToken is fenced",
	"fleet.sqlNodeReport":            "each node reports itself",
	"fleet.sqlNodeReportOwn":         "each node reports itself",
	"fleet.sqlNodeStop":              "each node reports itself",
	"fleet.sqlNodeStopOwn":           "each node reports itself",
	"fleet.sqlAdmit":                 "each node that may manage lets nodes in that show an invitation; the invitation's row decides",
	"fleet.sqlClusterClaimKeyID":     "the first one wins, and all get its key",
	"fleet.sqlClusterClaimAuthority": "the first one wins, and all get its authority",
	"fleet.sqlGrant":                 "rights follow from the binary: each node that may manage brings them in line when it starts",
	"fleet.sqlGrantedSet":            "rights follow from the binary",
	"fleet.sqlRoleServing":           "a role follows from the node's row: who lets the node in makes it",
	"fleet.sqlRoleManager":           "a role follows from the node's row",
	"fleet.sqlRolesLock":             "it takes the database from nodes whose row is gone",
	"fleet.sqlRolesEnd":              "it takes the database from nodes whose row is gone",
	"fleet.sqlLeadershipAcquire":     "it is the fence",
	"fleet.sqlLeadershipLease":       "it is the fence",
	"fleet.sqlLeadershipRenew":       "it is the fence",
	"fleet.sqlLeadershipRest":        "it is the fence",
	"fleet.sqlLeadershipRelease":     "it is the fence",
	"fleet.sqlLeadershipAdopt":       "it is the fence",
	"fleet.sqlLeadershipRefound":     "it is the fence",
	"fleet.sqlLeadershipRecover":     "it is the fence",
	"backup.sqlRestoredHead":         "it makes a database that no node uses yet",
	"backup.sqlRestoredRole":         "it makes a database that no node uses yet",
	"backup.sqlRestoredNodes":        "it makes a database that no node uses yet",
	"backup.sqlRestoredMember":       "it makes a database that no node uses yet",
	"backup.sqlRestoredLead":         "it makes a database that no node uses yet",
	"backup.sqlRestoredInvitations":  "it makes a database that no node uses yet",
	"backup.sqlRestoredGroup":        "it makes a database that no node uses yet",
}

// fencedWays are the ways to send a statement that prove the epoch first.
var fencedWays = regexp.MustCompile(`^(c\.Tx\.(QueryRow|Query|Exec)|c\.Exec|QueryOne of c\.Tx|postgres\.CreateAsAdmin|people\.m\.change|Queue in (c\.Pipeline|.*\.(Batch|Send|Lead)|a change))$`)

// TestEachChangeOfTheManagerCarriesTheEpoch: a statement that changes something is sent in a
// way that proves the epoch, or stands above with a reason.
func TestEachChangeOfTheManagerCarriesTheEpoch(t *testing.T) {
	all := packages(t)
	queries := constants(t, all)
	ways := map[string][]string{}
	for pkg, files := range all {
		for _, file := range files {
			waysOf(pkg, file, queries, ways)
		}
	}
	unfenced, fenced := map[string]bool{}, 0
	for name, sql := range queries {
		if !isQuery(name) || !writes.MatchString(sql) {
			continue
		}
		require.NotEmpty(t, ways[name], "%s is sent nowhere", name)
		free := slices.DeleteFunc(slices.Clone(ways[name]), fencedWays.MatchString)
		if len(free) == 0 {
			fenced++
			continue
		}
		unfenced[name] = true
		require.Contains(t, anyNode, name, "%s changes something, and is sent by %v, which proves no epoch", name, free)
	}
	for name := range anyNode {
		require.True(t, unfenced[name], "%s carries the epoch now, or is gone: take it off the list", name)
	}
	require.Greater(t, fenced, 25)
	require.NotRegexp(t, writes, queries["catalog.sqlCatalogDelta"])
}

// waysOf notes how a file sends the queries that it names.
func waysOf(pkg string, file *ast.File, queries map[string]string, into map[string][]string) {
	var path []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			path = path[:len(path)-1]
			return true
		}
		path = append(path, n)
		id, ok := n.(*ast.Ident)
		if !ok || queries[pkg+"."+id.Name] == "" || !strings.HasPrefix(id.Name, "sql") {
			return true
		}
		if _, declared := path[len(path)-2].(*ast.ValueSpec); declared {
			return true
		}
		into[pkg+"."+id.Name] = append(into[pkg+"."+id.Name], way(pkg, path))
		return true
	})
}

// way says how the statement is sent that a path through a file leads to.
func way(pkg string, path []ast.Node) string {
	call, ok := path[len(path)-2].(*ast.CallExpr)
	if !ok {
		return "an assignment"
	}
	name := types.ExprString(call.Fun)
	_, last, _ := strings.Cut(name, ".")
	switch {
	case strings.HasSuffix(name, "QueryOne"):
		return "QueryOne of " + types.ExprString(call.Args[1])
	case last == "change" || last == "keep":
		return pkg + "." + name
	case last != "Queue":
		return name
	}
	for _, n := range slices.Backward(path[:len(path)-2]) {
		switch outer := n.(type) {
		case *ast.CallExpr:
			takes := slices.ContainsFunc(outer.Args, func(arg ast.Expr) bool { _, ok := arg.(*ast.FuncLit); return ok })
			if takes && !readsQueued.MatchString(types.ExprString(outer.Fun)) {
				return "Queue in " + types.ExprString(outer.Fun)
			}
		case *ast.FuncDecl:
			for _, field := range append(slices.Clone(outer.Type.Params.List), fields(outer.Recv)...) {
				if strings.HasSuffix(types.ExprString(field.Type), "Change") {
					return "Queue in a change"
				}
			}
			return "Queue in " + outer.Name.Name
		}
	}
	return "Queue"
}

// readsQueued are the calls whose function reads the result of a queued statement.
var readsQueued = regexp.MustCompile(`\.(QueryRow|Query|Exec)$`)

func fields(list *ast.FieldList) []*ast.Field {
	if list == nil {
		return nil
	}
	return list.List
}

// reads are the methods of stores that change nothing, and ofAnyNode those that need no epoch.
var (
	reads = []string{
		"Apps.Get", "Apps.Contents", "Apps.List", "Functions.Get", "Functions.List", "Versions.Get", "Versions.List", "Versions.Source",
		"Deployments.Get", "Deployments.List", "Env.Get", "Secrets.List", "Catalog.Delta", "Catalog.Head", "Catalog.Sources",
		"Users.Get", "Users.List", "Users.Admins", "Users.ByToken", "Members.Get", "Members.List", "KV.Get", "KV.List", "KV.Of",
		"Nodes.List", "Cluster.KeyID", "Cluster.Facts", "Cluster.Authority", "Cluster.Members", "Invitations.List",
		"Cluster.Server", "Leadership.Show", "Leadership.Holder", "Roles.Possible",
	}
	ofAnyNode = []string{
		"Users.Bootstrap", "Users.SetOwnToken", "Nodes.Report", "Nodes.ReportOwn", "Nodes.Stop", "Nodes.StopOwn", "Invitations.Admit",
		"Cluster.ClaimKeyID", "Cluster.ClaimAuthority", "Roles.Make", "Roles.Keep", "Roles.LockOut",
		"Leadership.Acquire", "Leadership.Lease", "Leadership.Renew", "Leadership.Release", "Leadership.Adopt",
		"Leadership.Refound", "Leadership.Recover", "Roles.Promote",
	}
)

// changes calls every method of the stores that is the manager's.
func changes(ctx context.Context, db *store.DB, epoch int64) map[string]error {
	out := map[string]error{}
	note := func(name string, err error) { out[name] = err }
	_, err := db.Apps().Create(ctx, root, "shop")
	note("Apps.Create", err)
	_, err = db.Apps().UpdateSettings(ctx, root, "blog", picloud.AppSettings{KV: picloud.KVQuota{Keys: 9}}, 0)
	note("Apps.UpdateSettings", err)
	note("Apps.Delete", testdb.ErrorOf(db.Apps().Delete(ctx, root, "blog")))
	_, err = db.Functions().Create(ctx, root, "blog", "other", picloud.Settings{})
	note("Functions.Create", err)
	_, err = db.Functions().UpdateSettings(ctx, root, "blog", "hello", picloud.Settings{}, 0)
	note("Functions.UpdateSettings", err)
	note("Functions.Delete", testdb.ErrorOf(db.Functions().Delete(ctx, root, "blog", "hello", 0)))
	_, err = db.Versions().Publish(ctx, root, picloud.Publication{App: "blog", Function: "hello", Source: []byte("v3"), Deploy: true})
	note("Versions.Publish", err)
	_, err = db.Versions().Prune(ctx, epoch)
	note("Versions.Prune", err)
	_, err = db.Deployments().Deploy(ctx, root, "blog", "hello", 1)
	note("Deployments.Deploy", err)
	_, err = db.Deployments().Rollback(ctx, root, "blog", "hello", 0)
	note("Deployments.Rollback", err)
	_, err = db.Env().Replace(ctx, root, "blog", picloud.Env{"A": "b"}, 0)
	note("Env.Replace", err)
	_, err = db.Secrets().DataKey(ctx, root, "blog", []byte("key"))
	note("Secrets.DataKey", err)
	note("Secrets.Put", testdb.ErrorOf(db.Secrets().Put(ctx, root, "blog", "A", []byte("sealed"), []byte("key"))))
	note("Secrets.Delete", testdb.ErrorOf(db.Secrets().Delete(ctx, root, "blog", "A")))
	_, err = db.Users().Create(ctx, root, "bob", false, testdb.TokenHash())
	note("Users.Create", err)
	note("Users.SetToken", db.Users().SetToken(ctx, root, "ada", testdb.TokenHash()))
	note("Users.Delete", db.Users().Delete(ctx, root, "ada"))
	_, err = db.Members().Add(ctx, root, "blog", "ada", owner)
	note("Members.Add", err)
	_, err = db.Members().SetRole(ctx, root, "blog", "root", owner)
	note("Members.SetRole", err)
	note("Members.Remove", db.Members().Remove(ctx, root, "blog", "root"))
	_, err = db.KV().Put(ctx, root, "blog", picloud.KVEntry{Key: "k", Value: []byte{1}}, picloud.MatchAny)
	note("KV.Put", err)
	note("KV.Delete", db.KV().Delete(ctx, root, "blog", "k", 0))
	_, err = db.KV().Sweep(ctx, epoch)
	note("KV.Sweep", err)
	_, _, err = db.Nodes().ChangeLimits(ctx, root, "pi-1", testdb.ToLimits(picloud.Limits{Concurrency: 3}))
	note("Nodes.ChangeLimits", err)
	_, _, err = db.Nodes().Drain(ctx, root, "pi-1", true)
	note("Nodes.Drain", err)
	_, err = db.Nodes().Promote(ctx, root, "pi-1")
	note("Nodes.Promote", err)
	note("Nodes.Remove", db.Nodes().Remove(ctx, root, "pi-1", true))
	note("Nodes.RemoveBut", db.Nodes().RemoveBut(ctx, []string{}, root, "pi-1", true))
	_, err = db.Nodes().Forget(ctx, epoch)
	note("Nodes.Forget", err)
	_, err = db.Cluster().ChangeGossip(ctx, []byte("sealed"), 0, 1, false)
	note("Cluster.ChangeGossip", err)
	_, err = db.Invitations().Create(ctx, root, picloud.Invitation{ID: "0123456789abcdef", Role: picloud.RoleServing, Uses: 1}, time.Hour, make([]byte, 32))
	note("Invitations.Create", err)
	note("Invitations.Delete", db.Invitations().Delete(ctx, root, "0011223344556677"))
	return out
}

// TestADeposedManagerChangesNothing: whatever the control API asks of a node that was the
// manager, while another one is. A new method of a store has to find its place here.
func TestADeposedManagerChangesNothing(t *testing.T) {
	dsn := testdb.DSN(t)
	alone := testdb.OpenWithRoot(t, dsn)
	testdb.Publish(t, alone, "blog", "hello", "v1")
	testdb.Publish(t, alone, "blog", "hello", "v2")
	testdb.User(t, alone, "ada")
	require.NoError(t, alone.Nodes().Report(t.Context(), picloud.Node{ID: nodeA, Name: "pi-1"}))
	_, err := alone.Invitations().Create(t.Context(), root, picloud.Invitation{ID: "0011223344556677", Role: picloud.RoleServing, Uses: 1}, time.Hour, make([]byte, 32))
	require.NoError(t, err)
	id := leadershipOf(t, alone).Cluster
	old, err := alone.Leadership().Acquire(t.Context(), id, 1, nodeA)
	require.NoError(t, err)
	_, err = alone.Leadership().Acquire(t.Context(), id, 2, nodeB)
	require.NoError(t, err)

	var epoch, told atomic.Int64
	db, err := store.Open(postgres.Options{DSN: dsn, Epoch: epoch.Load, OnDeposed: func(epoch int64) { told.Store(epoch) }})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	conn := testdb.Connect(t, dsn)
	before := contents(t, conn)
	var classed []string
	for _, now := range []int64{old, postgres.NoManager} {
		epoch.Store(now)
		done := changes(t.Context(), db, now)
		for name, err := range done {
			require.Equal(t, picloud.CodeDeposed, picloud.CodeOf(err), "%s: %v", name, err)
			require.ErrorContains(t, err, "another node manages the cluster", name)
			require.NotZero(t, asError(t, err).RetryAfter, name)
		}
		require.Equal(t, before, contents(t, conn), "as epoch %d", now)
		classed = slices.Collect(maps.Keys(done))
	}
	require.Equal(t, old, told.Load(), "the node hears of it")

	classed = append(append(classed, reads...), ofAnyNode...)
	var methods []string
	for _, one := range []any{
		db.Apps(), db.Functions(), db.Versions(), db.Deployments(), db.Env(), db.Secrets(), db.Catalog(), db.Users(), db.Members(),
		db.KV(), db.Nodes(), db.Cluster(), db.Invitations(), db.Leadership(), db.Roles(),
	} {
		kind := reflect.TypeOf(one)
		for m := range kind.Methods() {
			methods = append(methods, kind.Name()+"."+m.Name)
		}
	}
	require.ElementsMatch(t, methods, classed)
	stores := 0
	for m := range reflect.TypeOf(db).Methods() {
		if m.Type.NumIn() == 1 && m.Type.NumOut() == 1 && strings.Contains(m.Type.Out(0).PkgPath(), "/internal/postgres/") {
			stores++
		}
	}
	require.Equal(t, 15, stores, "each store is looked at")

	// The same calls change something where the node is the manager.
	epoch.Store(old + 1)
	for name, err := range changes(t.Context(), db, old+1) {
		require.NotEqual(t, picloud.CodeDeposed, picloud.CodeOf(err), name)
	}
	require.NotEqual(t, before, contents(t, conn))
}

const (
	nodeA = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11"
	nodeB = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12"
)

func leadershipOf(t *testing.T, db *store.DB) fleet.Held {
	t.Helper()
	h, err := db.Leadership().Show(t.Context())
	require.NoError(t, err)
	return h
}

func asError(t *testing.T, err error) *picloud.Error {
	t.Helper()
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	return e
}

// contents are the rows of all tables.
func contents(t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()`)
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	out := map[string]string{}
	for _, table := range tables {
		var text string
		require.NoError(t, conn.QueryRow(t.Context(), fmt.Sprintf(`SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM %q r`, table)).Scan(&text))
		out[table] = text
	}
	return out
}
