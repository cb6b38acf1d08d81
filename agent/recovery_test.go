package agent

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/internal/testdb"
)

// manager waits until a node manages the cluster.
func (ta *testAgent) manager() *testAgent {
	ta.t.Helper()
	require.Eventually(ta.t, func() bool { return ta.election.epoch.Load() > 0 }, time.Minute, 5*time.Millisecond)
	return ta
}

// TestTheManagersPlaceIsTakenForGood: the only voter stops, and another node has its place at
// once; it is removed, and that node begins the elections anew. No node is left without a
// manager by what joins then.
func TestTheManagersPlaceIsTakenForGood(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	a.deploy("hello", helloSource)
	b := a.joined("pi-2")
	b.token = a.token
	a.manager()
	require.Eventually(t, func() bool { s, _ := b.Seen(); return s.Manager == "pi-1" && s.Alive == 2 }, 20*time.Second, 5*time.Millisecond)
	before := a.election.epoch.Load()
	a.Stop()
	b.manager()
	require.Greater(t, b.election.epoch.Load(), before)
	held, err := b.database.Leadership().Show(t.Context())
	require.NoError(t, err)
	require.Equal(t, b.identity.ID, held.Node)
	term := held.Term
	status, body := b.api(http.MethodGet, "/cluster", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"manager":"pi-2"`)
	require.Contains(t, body, `"voters":[]`)

	status, body = b.api(http.MethodDelete, "/nodes/pi-1?force=true", "")
	require.Equal(t, http.StatusNoContent, status, body)
	require.Eventually(t, func() bool {
		s, err := b.ClusterState(t.Context())
		return err == nil && slices.Equal(s.Voters, []string{"pi-2"})
	}, 20*time.Second, 5*time.Millisecond)
	b.manager()
	require.Eventually(t, func() bool { return b.election.lease.Load() == nil }, 10*time.Second, 5*time.Millisecond, "Raft has the place now")
	held, err = b.database.Leadership().Show(t.Context())
	require.NoError(t, err)
	require.Greater(t, held.Term, term)
	require.False(t, held.Leased)

	c := b.joined("pi-3")
	c.token = a.token
	require.Eventually(t, func() bool { s, _ := c.Seen(); return s.Manager == "pi-2" }, 20*time.Second, 5*time.Millisecond)
	c.deploy("hello", helloSource)
	_, err = c.Recover(t.Context(), Recovery{})
	require.ErrorContains(t, err, "pi-2 manages the cluster")
}

// TestAnOperatorBringsTheManagerBack: with what is left, and also when the database knows later
// terms than the elections can have.
func TestAnOperatorBringsTheManagerBack(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	_, err := a.Recover(t.Context(), Recovery{Force: true})
	require.ErrorContains(t, err, "it is its own manager")
	b := a.served("pi-2")
	a.manager()
	_, err = b.Recover(t.Context(), Recovery{Force: true})
	require.ErrorContains(t, err, "serves functions only")
	_, err = a.Recover(t.Context(), Recovery{})
	require.ErrorContains(t, err, "pi-1 manages the cluster")

	before := a.election.epoch.Load()
	plan, err := a.Recover(t.Context(), Recovery{Force: true, Try: true})
	require.NoError(t, err)
	require.Equal(t, "pi-1", plan.Node)
	require.False(t, plan.Done)
	require.Equal(t, before, a.election.epoch.Load())
	done, err := a.Recover(t.Context(), Recovery{Force: true})
	require.NoError(t, err)
	require.True(t, done.Done)
	a.manager()
	require.Eventually(t, func() bool { return a.election.epoch.Load() > before }, 20*time.Second, 5*time.Millisecond)

	// A database of a cluster whose terms were higher refuses whoever is elected.
	_, err = a.database.API().Exec(t.Context(), `UPDATE leadership SET raft_term = 1000000, epoch = epoch + 1, node_id = NULL, lease_until = NULL`)
	require.NoError(t, err)
	a.election.challenged()
	require.Eventually(t, func() bool { return !a.manages() }, 20*time.Second, 5*time.Millisecond)
	status, body := a.api(http.MethodGet, "/cluster", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, `"seen_by":"pi-1"`)
	done, err = a.Recover(t.Context(), Recovery{Adopt: true})
	require.NoError(t, err)
	require.Equal(t, "pi-1", done.Manager)
	a.manager()
	held, err := a.database.Leadership().Show(t.Context())
	require.NoError(t, err)
	require.Less(t, held.Term, uint64(1000))
}

// TestANodeIsPromoted: it gets another certificate and the rights of a manager, and takes part
// in the elections, without a restart and after one.
func TestANodeIsPromoted(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	b := a.served("pi-2")
	require.Nil(t, b.election.taking())
	b.token = a.token
	status, body := b.api(http.MethodPost, "/nodes/pi-9/promote", "")
	require.Equal(t, http.StatusNotFound, status, body)
	for range 2 {
		status, body = b.api(http.MethodPost, "/nodes/pi-2/promote", "")
		require.Equal(t, http.StatusOK, status, body)
		require.Contains(t, body, `"role":"manager"`)
	}
	require.Eventually(t, func() bool { return b.election.taking() != nil }, 20*time.Second, 5*time.Millisecond)
	require.Equal(t, identity.Manager, b.cluster.Peer().Role)
	_, _, err := b.authority(t.Context())
	require.NoError(t, err, "it may sign certificates now")
	require.Eventually(t, func() bool {
		_, nodes := a.Seen()
		return slices.ContainsFunc(nodes, func(n picloud.Node) bool { return n.Name == "pi-2" && n.Role == picloud.RoleManager })
	}, 20*time.Second, 5*time.Millisecond)
	dir := b.opts.DataDir
	b.Stop()
	b = startAgent(t, dir, "", named("pi-2"), onPorts(t)).reached()
	require.False(t, b.database.limited)
	require.NotNil(t, b.election.taking())
}
