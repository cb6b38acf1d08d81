package fleet_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestNodesHaveLimits(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	boss := testdb.ClusterAdmin(t, db, "boss")
	node := picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-1", Version: "v1", Rev: 3}
	require.NoError(t, db.Nodes().Report(t.Context(), node))
	limits := picloud.Limits{Memory: 32 << 20, Concurrency: 4}
	before, id := testdb.Head(t, db), testdb.Incarnation(t, db)

	_, _, err := db.Nodes().ChangeLimits(t.Context(), picloud.Actor{User: "boss"}, "pi-1", testdb.ToLimits(limits))
	testdb.RequireCode(t, picloud.CodeForbidden, err)
	_, _, err = db.Nodes().ChangeLimits(t.Context(), boss, "pi-2", testdb.ToLimits(limits))
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, _, err = db.Nodes().ChangeLimits(t.Context(), boss, "pi-1", testdb.ToLimits(picloud.Limits{Queue: -1}))
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	set, rev, err := db.Nodes().ChangeLimits(t.Context(), boss, "pi-1", testdb.ToLimits(limits))
	require.NoError(t, err)
	require.Equal(t, before+1, rev)
	require.Equal(t, limits, set.Limits)
	require.Equal(t, node.ID, set.ID)
	require.Equal(t, before+1, testdb.Head(t, db), "the node is woken")
	testdb.Unchanged(t, db, func() {
		same, rev, err := db.Nodes().ChangeLimits(t.Context(), boss, "pi-1", testdb.ToLimits(limits))
		require.NoError(t, err)
		require.Equal(t, testdb.Head(t, db), rev, "a change of nothing stands at the present revision")
		require.Equal(t, set, same)
	})
	d, err := db.Catalog().Delta(t.Context(), node.ID, id, before)
	require.NoError(t, err)
	require.Equal(t, picloud.Delta{Incarnation: id, Rev: before + 1, Limits: limits}, d)
	for _, other := range []string{"", "no uuid", "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12"} {
		d, err = db.Catalog().Delta(t.Context(), other, id, before)
		require.NoError(t, err)
		require.Zero(t, d.Limits)
	}

	require.NoError(t, db.Nodes().Report(t.Context(), node))
	nodes, err := db.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Equal(t, limits, nodes[0].Limits, "a report leaves them alone")
}

func TestClusterKeyID(t *testing.T) {
	db := testdb.NewWithRoot(t)
	id, err := db.Cluster().KeyID(t.Context())
	require.NoError(t, err)
	require.Empty(t, id)
	for _, bad := range []string{"", "x", strings.Repeat("G", 32), strings.Repeat("a", 33)} {
		_, err = db.Cluster().ClaimKeyID(t.Context(), bad)
		testdb.RequireCode(t, picloud.CodeInvalid, err)
	}
	told := make([]string, 8)
	var wg sync.WaitGroup
	for i := range told {
		wg.Go(func() {
			var err error
			if told[i], err = db.Cluster().ClaimKeyID(t.Context(), strings.Repeat(fmt.Sprint(i), 32)); err != nil {
				t.Errorf("claim: %v", err)
			}
		})
	}
	wg.Wait()
	id, err = db.Cluster().KeyID(t.Context())
	require.NoError(t, err)
	for _, one := range told {
		require.Equal(t, id, one)
	}
}
