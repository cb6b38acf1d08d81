package fleet_test

import (
	"context"
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

// TestTheHolderHearsThatItIsContended: only then, so that nodes at rest hear nothing.
func TestTheHolderHearsThatItIsContended(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	id, l := cluster(t, db), db.Leadership()
	listener := testdb.Connect(t, dsn)
	_, err := listener.Exec(t.Context(), `LISTEN picloud_node`)
	require.NoError(t, err)
	told := func() bool {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		n, err := listener.WaitForNotification(ctx)
		return err == nil && n.Payload == fleet.Contended
	}
	epoch, err := l.Acquire(t.Context(), id, 1, nodeA)
	require.NoError(t, err)
	lease := func(node string, epoch int64) {
		t.Helper()
		_, _, _, err := l.Lease(t.Context(), id, node, epoch, 15*time.Second)
		require.NoError(t, err)
	}
	lease(nodeA, epoch)
	require.False(t, told(), "it renews")
	require.NoError(t, l.Renew(t.Context(), epoch, nodeA, 0))
	lease(nodeB, 0)
	require.True(t, told())
	lease(nodeB, 0)
	require.False(t, told(), "it has its lease already")
}

// TestTheHolderBeginsTheElectionsAnew when the database agrees with what it believes.
func TestTheHolderBeginsTheElectionsAnew(t *testing.T) {
	db := testdb.New(t)
	id, l := cluster(t, db), db.Leadership()
	for name, node := range map[string]string{"pi-1": nodeA, "pi-2": nodeB} {
		_, err := db.API().Exec(t.Context(), `INSERT INTO node (id, name, version, rev, started_at) VALUES ($1, $2, 'v', 0, now())`, node, name)
		require.NoError(t, err)
	}
	_, err := l.Acquire(t.Context(), id, 7, nodeA)
	require.NoError(t, err)
	require.NoError(t, l.Release(t.Context(), 1, nodeA))
	_, epoch, _, err := l.Lease(t.Context(), id, nodeB, 0, 15*time.Second)
	require.NoError(t, err)
	require.EqualValues(t, 2, epoch)
	refuse := func(epoch int64, node string, gone, known []string) {
		t.Helper()
		_, err := l.Refound(t.Context(), epoch, node, gone, known)
		testdb.RequireCode(t, picloud.CodeDeposed, err)
	}
	refuse(2, nodeB, []string{nodeA}, []string{nodeA, nodeB}) // the voter is a member
	refuse(2, nodeB, nil, []string{nodeB})                    // somebody else may manage
	_, err = db.API().Exec(t.Context(), `DELETE FROM node WHERE id = $1`, nodeA)
	require.NoError(t, err)
	refuse(1, nodeA, []string{nodeA}, []string{nodeB}) // its epoch is over
	refuse(2, nodeA, []string{nodeA}, []string{nodeB}) // the epoch is another node's
	term, err := l.Refound(t.Context(), 2, nodeB, []string{nodeA}, []string{nodeB})
	require.NoError(t, err)
	require.EqualValues(t, 8, term)
	term, err = l.Recover(t.Context(), id)
	require.NoError(t, err)
	require.EqualValues(t, 9, term, "an operator's node gets another one")
	_, err = l.Recover(t.Context(), other)
	testdb.RequireCode(t, picloud.CodeDeposed, err)
	epoch, err = l.Acquire(t.Context(), id, 10, nodeB)
	require.NoError(t, err, "it is elected behind its term")
	require.EqualValues(t, 3, epoch)
	_, err = l.Acquire(t.Context(), id, 9, nodeA)
	testdb.RequireCode(t, picloud.CodeDeposed, err)
}
