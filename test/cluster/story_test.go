package cluster

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestThreeNodes is the life of a small cluster: it forms, restarts, loses a network, a
// database, all but one of its nodes, and a member that was removed.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]

	require.Contains(t, two.output.String(), `PiCloud node pi-2 joined cluster "home" in`)
	require.NoError(t, os.WriteFile(filepath.Join(two.dir, "hello.risor"), []byte(returning("made at pi-2")), 0o600))
	said, stderr, code := two.cli("deploy", "hello.risor", "--wait", "all")
	require.Zero(t, code, stderr)
	require.Contains(t, said+stderr, "3/3 nodes")
	for _, n := range l.nodes {
		status, body := n.call("hello")
		require.Equal(t, http.StatusOK, status, body)
		require.Equal(t, "made at pi-2", body, n.name)
	}

	t.Log("the same command line restarts a node")
	for _, n := range []*node{two, three, one} {
		n.stop()
		n.start()
		require.NotContains(t, n.output.String(), "joined cluster")
		status, body := n.call("hello")
		require.Equal(t, http.StatusOK, status, body)
	}
	l.awaitLive(20 * time.Second)

	t.Log("the database's board loses its power")
	calls := underLoad("hello", two, three)
	one.power()
	status, body := two.put("hello", returning("no"))
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	one.launch()
	took := one.await("a deploy on every node", 30*time.Second, func() bool {
		status, _ := one.put("hello", returning("after the power"))
		return status == http.StatusOK || status == http.StatusCreated
	})
	t.Logf("a deploy was live on every node %s after the power came back", took)
	calls.requireAll(two)
	for _, n := range l.nodes {
		n.awaitAnswer("hello", "after the power", 10*time.Second)
	}

	t.Log("a frozen database's node")
	calls = underLoad("hello", two, three)
	one.signal(syscall.SIGSTOP)
	pause(either(3*time.Second, 30*time.Second))
	one.signal(syscall.SIGCONT)
	l.awaitLive(20 * time.Second)
	calls.requireAll(two)

	t.Log("a node that boots with all others gone")
	for _, n := range l.nodes {
		n.stop()
	}
	begun := time.Now()
	three.launch()
	three.await("an answer", 10*time.Second, func() bool { status, _ := three.call("hello"); return status == http.StatusOK })
	t.Logf("it served after %s", time.Since(begun))
	require.Less(t, time.Since(begun), 2*time.Second)
	one.start()
	two.start()
	l.awaitLive(20 * time.Second)

	t.Log("a node that was removed comes back")
	three.stop()
	_, stderr, code = one.cli("node", "rm", "pi-3", "--yes")
	require.Zero(t, code, stderr)
	three.launch()
	three.await("the removed node to say so", 20*time.Second, func() bool { return strings.Contains(three.output.String(), "removed") })
	one.deploy("hello", "without pi-3")
	_, body = two.call("hello")
	require.Equal(t, "without pi-3", body)
}
