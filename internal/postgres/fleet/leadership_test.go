package fleet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

const (
	nodeA = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11"
	nodeB = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12"
	other = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0aff"
)

func cluster(t *testing.T, db *store.DB) string {
	t.Helper()
	h, err := db.Leadership().Show(t.Context())
	require.NoError(t, err)
	return h.Cluster
}

func TestTheLeadershipGoesToTheLatestTerm(t *testing.T) {
	db := testdb.New(t)
	id, l := cluster(t, db), db.Leadership()
	h, err := l.Show(t.Context())
	require.NoError(t, err)
	require.Equal(t, fleet.Held{Cluster: id}, h, "nobody leads a new cluster")

	take := func(want int64, term uint64, node string) {
		t.Helper()
		epoch, err := l.Acquire(t.Context(), id, term, node)
		require.NoError(t, err)
		require.Equal(t, want, epoch)
	}
	refuse := func(cluster string, term uint64, node string) {
		t.Helper()
		before, err := l.Show(t.Context())
		require.NoError(t, err)
		_, err = l.Acquire(t.Context(), cluster, term, node)
		testdb.RequireCode(t, picloud.CodeDeposed, err)
		after, err := l.Show(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after)
	}
	take(1, 3, nodeA)
	take(1, 3, nodeA) // the reply was lost
	refuse(id, 2, nodeA)
	refuse(id, 2, nodeB)
	refuse(id, 3, nodeB) // two leaders in one term: one of them forgot its vote
	refuse(other, 9, nodeB)
	take(2, 4, nodeA) // the same node, elected anew
	take(3, 7, nodeB)
	refuse(id, 4, nodeA)

	require.NoError(t, l.Adopt(t.Context(), id))
	take(5, 1, nodeA) // terms start anew, epochs go on
}

func TestALeaseGoesToAnotherNodeWhenItIsOver(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	id, l := cluster(t, db), db.Leadership()
	conn := testdb.Connect(t, dsn)
	over := func() {
		t.Helper()
		_, err := conn.Exec(t.Context(), `UPDATE leadership SET lease_until = clock_timestamp() - interval '1 second' WHERE lease_until IS NOT NULL`)
		require.NoError(t, err)
	}
	lease := func(node string, epoch int64, wantNode string, wantEpoch int64) {
		t.Helper()
		holder, now, left, err := l.Lease(t.Context(), id, node, epoch, 15*time.Second)
		require.NoError(t, err)
		require.Equal(t, wantNode, holder)
		require.Equal(t, wantEpoch, now)
		require.Positive(t, left)
	}
	lease(nodeA, 0, nodeA, 1)
	lease(nodeA, 1, nodeA, 1) // it renews
	lease(nodeB, 0, nodeA, 1) // the lease runs
	over()
	require.NoError(t, l.Renew(t.Context(), 1, nodeA, 15*time.Second), "nobody took it")
	over()
	lease(nodeB, 0, nodeB, 2)
	testdb.RequireCode(t, picloud.CodeDeposed, l.Renew(t.Context(), 1, nodeA, 15*time.Second))
	testdb.RequireCode(t, picloud.CodeDeposed, l.Renew(t.Context(), 1, nodeA, 0))
	lease(nodeB, 0, nodeB, 3) // a process that was started again has its own epoch

	// A holder at rest is told to renew before it can lose the leadership.
	require.NoError(t, l.Renew(t.Context(), 3, nodeB, 0))
	require.NoError(t, l.Renew(t.Context(), 3, nodeB, 15*time.Second))
	h, err := l.Show(t.Context())
	require.NoError(t, err)
	require.False(t, h.Leased, "nobody contends, so nothing runs out")
	lease(nodeA, 0, nodeB, 3)
	require.NoError(t, l.Renew(t.Context(), 3, nodeB, 15*time.Second))
	require.NoError(t, l.Release(t.Context(), 3, nodeB))
	lease(nodeA, 0, nodeA, 4)

	// Raft's next term beats a lease; the same term only one that is over.
	epoch, err := l.Acquire(t.Context(), id, 1, nodeB)
	require.NoError(t, err)
	require.EqualValues(t, 5, epoch)
	lease(nodeA, 4, nodeB, 5)
	over()
	lease(nodeA, 4, nodeA, 6)
	_, err = l.Acquire(t.Context(), id, 1, nodeB)
	testdb.RequireCode(t, picloud.CodeDeposed, err)
	require.NoError(t, l.Release(t.Context(), 6, nodeA))
	require.Eventually(t, func() bool { epoch, err = l.Acquire(t.Context(), id, 1, nodeB); return err == nil }, 5*time.Second, time.Millisecond)
	require.EqualValues(t, 7, epoch)
	_, _, _, err = l.Lease(t.Context(), other, nodeB, 0, time.Second)
	testdb.RequireCode(t, picloud.CodeDeposed, err)
}
