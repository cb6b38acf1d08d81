package cluster

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// awaitManager waits until another node manages the cluster, as a node hears, and returns how
// long that took. Something can be changed then.
func (n *node) awaitManager(name string, within time.Duration) time.Duration {
	n.t.Helper()
	took := n.await(name+" to manage", within, func() bool { return n.cluster().Manager == name })
	status, body := n.put("change", returning(name))
	require.Contains(n.t, []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}, status, body)
	return took
}

// elsewhere makes a lab of nodes whose database is on none of them.
func elsewhere(t *testing.T, count int) *lab {
	t.Helper()
	l := newLab(t)
	one := l.add()
	one.env = append(one.env, "PICLOUD_DATABASE_URL="+testdb.Server(t).DSN())
	l.fill(count)
	return l
}

// TestTwoNodesWithADatabaseElsewhere loses the first of two nodes in every way: killed, stopped,
// and removed. The second manages, and what joins later finds a manager.
func TestTwoNodesWithADatabaseElsewhere(t *testing.T) {
	t.Parallel()
	l := elsewhere(t, 2)
	one, two := l.nodes[0], l.nodes[1]
	one.deploy("steady", "ok")
	two.await("a place beside the only voter", 90*time.Second, func() bool { return slices.Equal(two.cluster().Standbys, []string{"pi-2"}) })
	pause(3 * time.Second) // the manager gives the place, and pi-2 hears of it

	calls := underLoad("steady", two)
	one.kill()
	took := two.awaitManager("pi-2", time.Minute)
	t.Logf("pi-2 managed %s after pi-1 was killed", took)
	require.Less(t, took, 20*time.Second)

	one.start()
	t.Logf("pi-1 managed again after %s", two.awaitManager("pi-1", healing))
	l.awaitLive(healing)

	one.stop()
	took = two.awaitManager("pi-2", time.Minute)
	t.Logf("pi-2 managed %s after pi-1 was stopped", took)
	require.Less(t, took, 5*time.Second)

	_, stderr, code := two.cli("node", "rm", "pi-1", "--yes", "--force")
	require.Zero(t, code, stderr)
	took = two.await("a group of its own", healing, func() bool { return slices.Equal(two.cluster().Voters, []string{"pi-2"}) })
	t.Logf("pi-2 was the only voter %s after pi-1 was removed", took)
	two.awaitManager("pi-2", healing)

	three := l.join(two.invite())
	three.awaitManager("pi-2", healing)
	two.await("pi-3 to stand by", 90*time.Second, func() bool { return slices.Equal(two.cluster().Standbys, []string{"pi-3"}) })
	pause(3 * time.Second)
	calls.requireAll(two)
	two.kill()
	took = three.awaitManager("pi-3", time.Minute)
	t.Logf("pi-3 managed %s after pi-2 was killed", took)
	require.Less(t, took, 20*time.Second)
}

// TestRecover loses two of three voters for good. The node that is left says what is missing,
// and an operator makes it the manager. One of the lost comes back all the same.
func TestRecover(t *testing.T) {
	t.Parallel()
	l := elsewhere(t, 3)
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]
	one.deploy("steady", "ok")
	one.await("three voters", 2*time.Minute, func() bool { return len(three.cluster().Voters) == 3 })
	list, _, _ := three.cli("node", "ls")
	require.Contains(t, list, " voter ", list)
	_, stderr, code := three.cli("cluster", "recover", "--yes")
	require.NotZero(t, code)
	require.Contains(t, stderr, "manages the cluster")

	calls := underLoad("steady", three)
	one.kill()
	two.kill()
	three.await("what is missing", time.Minute, func() bool {
		return strings.Contains(three.cluster().Trouble, "no majority: pi-1 and pi-2 of the voters pi-1, pi-2 and pi-3 do not answer")
	})
	said, stderr, code := three.cli("cluster", "status")
	require.Zero(t, code, stderr)
	require.Contains(t, said, "none")
	require.Contains(t, stderr, "as pi-3 sees it; there is no manager: no majority")
	require.Contains(t, stderr, "picloud cluster recover")
	list, stderr, code = three.cli("node", "ls")
	require.Zero(t, code, stderr)
	require.Regexp(t, `pi-1 .* away +voter`, list)
	status, body := three.put("steady", returning("no"))
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	require.Contains(t, body, "no majority")

	_, stderr, code = three.cli("cluster", "recover")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "These voters do not answer, and lose their vote: pi-1, pi-2")
	begun := time.Now()
	said, stderr, code = three.cli("cluster", "recover", "--yes")
	require.Zero(t, code, stderr)
	require.Contains(t, said, "pi-3 manages the cluster")
	require.Contains(t, stderr, "picloud node rm pi-1 pi-2")
	t.Logf("pi-3 managed %s after the command", time.Since(begun))
	three.awaitManager("pi-3", healing)
	require.Equal(t, []string{"pi-3"}, three.cluster().Voters)

	two.start() // pi-1 is a member still
	two.awaitManager("pi-3", healing)
	two.await("a place beside the only voter", 90*time.Second, func() bool { return slices.Equal(three.cluster().Standbys, []string{"pi-2"}) })
	_, stderr, code = three.cli("node", "rm", "pi-1", "--yes", "--force")
	require.Zero(t, code, stderr)
	l.awaitLive(healing)
	calls.requireAll(three)
	pause(3 * time.Second)
	three.stop()
	two.awaitManager("pi-2", healing)
	_, stderr, code = two.cli("node", "rm", "pi-3", "--yes", "--force")
	require.Zero(t, code, stderr)
	two.await("a group of its own", healing, func() bool { return slices.Equal(two.cluster().Voters, []string{"pi-2"}) })
}
