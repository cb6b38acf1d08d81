package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/testdb"
)

func TestNodes(t *testing.T) {
	db := testdb.NewWithRoot(t)
	started := time.Now().UTC().Add(-time.Hour).Truncate(time.Microsecond)
	one := picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-2", Version: strings.Repeat("v", 300), Rev: 1, StartedAt: started}
	require.NoError(t, db.Nodes().Report(t.Context(), one))
	one.Rev, one.Version = 2, "v1"
	require.NoError(t, db.Nodes().Report(t.Context(), one))
	two := one
	two.ID, two.Name = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12", "pi-1"
	testdb.RequireCode(t, picloud.CodeNotInvited, db.Nodes().Report(t.Context(), two))
	testdb.Join(t, db, testdb.Root, two)

	nodes, err := db.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 2)
	require.True(t, nodes[0].Alive(time.Now()))
	one.SeenAt, one.Role = nodes[1].SeenAt, picloud.RoleManager
	require.Equal(t, one, nodes[1])

	bad := one
	bad.Name = "No Name"
	testdb.RequireCode(t, picloud.CodeInvalid, db.Nodes().Report(t.Context(), bad))
	bad = one
	bad.ID = "no uuid"
	require.Error(t, db.Nodes().Report(t.Context(), bad))
}

// TestANameBelongsToOneNode: of nodes that report one name at once, one gets it. It keeps
// the name over its own restarts, and loses it when it is dead.
func TestANameBelongsToOneNode(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	boss := testdb.ClusterAdmin(t, db, "boss")
	node := func(n int) picloud.Node {
		return picloud.Node{ID: fmt.Sprintf("6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a%02d", n), Name: "pi-1", StartedAt: time.Now()}
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = db.Nodes().Report(t.Context(), node(i)) })
	}
	wg.Wait()
	winner := slices.Index(errs, nil)
	require.GreaterOrEqual(t, winner, 0)
	for i, err := range errs {
		if i != winner {
			testdb.RequireCode(t, picloud.CodeConflict, err)
			require.ErrorContains(t, err, node(winner).ID)
			require.ErrorContains(t, err, "started 2")
		}
	}
	require.NoError(t, db.Nodes().Report(t.Context(), node(winner)), "its own restart")
	_, _, err := db.Nodes().ChangeLimits(t.Context(), boss, "pi-1", testdb.ToLimits(picloud.Limits{Queue: 3}))
	require.NoError(t, err)

	other := node(20)
	testdb.RequireCode(t, picloud.CodeConflict, db.Nodes().Remove(t.Context(), boss, "pi-1", false))
	for name, dies := range map[string]func(){
		"it said that it stops": func() { require.NoError(t, db.Nodes().Stop(t.Context(), node(winner))) },
		"it is silent": func() {
			_, err := testdb.Connect(t, dsn).Exec(t.Context(), `UPDATE node SET seen_at = now() - interval '181 s', stopped_at = NULL`)
			require.NoError(t, err)
		},
	} {
		dies()
		require.NoError(t, db.Nodes().Report(t.Context(), other), name)
		nodes, err := db.Nodes().List(t.Context())
		require.NoError(t, err)
		require.Len(t, nodes, 1, "the name passed on")
		require.Equal(t, other.ID, nodes[0].ID)
		require.Equal(t, 3, nodes[0].Limits.Queue, "with what an admin gave to it")
		require.False(t, nodes[0].Stopped)
		testdb.RequireCode(t, picloud.CodeConflict, db.Nodes().Report(t.Context(), node(winner)))
		require.NoError(t, db.Nodes().Stop(t.Context(), other))
		require.NoError(t, db.Nodes().Report(t.Context(), node(winner)))
	}

	testdb.RequireCode(t, picloud.CodeForbidden, db.Nodes().Remove(t.Context(), picloud.Actor{User: "boss"}, "pi-1", false))
	testdb.RequireCode(t, picloud.CodeNotFound, db.Nodes().Remove(t.Context(), boss, "pi-9", false))
	require.NoError(t, db.Nodes().Stop(t.Context(), node(winner)))
	testdb.RequireCode(t, picloud.CodeForbidden, db.Nodes().Remove(t.Context(), picloud.Actor{User: "nobody", Admin: true}, "pi-1", false))
	require.NoError(t, db.Nodes().Remove(t.Context(), boss, "pi-1", false))
	nodes, err := db.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Empty(t, nodes)
	testdb.RequireCode(t, picloud.CodeNotInvited, db.Nodes().Report(t.Context(), node(winner)))
}

// TestRemovedNodesAreForgotten: a year later, but for the founder, which needs no invitation.
func TestRemovedNodesAreForgotten(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	_, err := testdb.Connect(t, dsn).Exec(t.Context(), `
		INSERT INTO removed_node (id, name, removed_by, removed_at) VALUES
			('6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11', 'founder', 'root', now() - interval '2 years'),
			('6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12', 'long-ago', 'root', now() - interval '366 days'),
			('6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a13', 'lately', 'root', now() - interval '300 days');
		UPDATE cluster SET founder = '6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11'`)
	require.NoError(t, err)
	for _, epoch := range []int64{postgres.NoManager, 7} {
		_, err = db.Nodes().Forget(t.Context(), epoch)
		testdb.RequireCode(t, picloud.CodeDeposed, err)
	}
	forgotten, err := db.Nodes().Forget(t.Context(), postgres.Alone)
	require.NoError(t, err)
	require.EqualValues(t, 1, forgotten)
	for _, id := range []string{"11", "13"} {
		err := db.Nodes().Report(t.Context(), picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a" + id, Name: "pi-" + id})
		testdb.RequireCode(t, picloud.CodeNotInvited, err)
		require.ErrorContains(t, err, "was removed")
	}
}

// TestACopyOfANodeIsRefused: somebody has copied a data folder, so two processes have one
// id. The first one goes on.
func TestACopyOfANodeIsRefused(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	first := picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-1", StartedAt: time.Now(), Place: "here"}
	second := first
	second.Name, second.Place = "pi-2", "there"
	require.NoError(t, db.Nodes().Report(t.Context(), first))
	require.NoError(t, db.Nodes().Report(t.Context(), first), "its own restart")
	refused := func(node picloud.Node) {
		t.Helper()
		err := db.Nodes().Report(t.Context(), node)
		testdb.RequireCode(t, picloud.CodeConflict, err)
		require.ErrorContains(t, err, "one of the two data folders is a copy")
	}
	refused(second)
	require.NoError(t, db.Nodes().Stop(t.Context(), second), "a copy that ends")
	refused(second)
	nodes, err := db.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Equal(t, "pi-1", nodes[0].Name)
	require.False(t, nodes[0].Stopped)

	require.NoError(t, db.Nodes().Stop(t.Context(), first))
	require.NoError(t, db.Nodes().Report(t.Context(), second), "the data folder was moved")
	refused(first)
	_, err = testdb.Connect(t, dsn).Exec(t.Context(), `UPDATE node SET seen_at = now() - $1::interval`, picloud.PlaceSilence.String())
	require.NoError(t, err)
	require.NoError(t, db.Nodes().Report(t.Context(), first), "the other one has crashed")

	unknown := second
	unknown.Place = ""
	require.NoError(t, db.Nodes().Report(t.Context(), unknown), "a database of its own: nobody else is there")
	require.NoError(t, db.Nodes().Report(t.Context(), second))
}
