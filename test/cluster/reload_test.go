package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReloads reloads the configuration of the manager and of another member again and again
// under load, every tenth time with one that fails: one runtime goes on in each process,
// with its executors, its place among the others, and the leadership.
func TestReloads(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for range 2 {
		n := l.add()
		n.configure("")
	}
	one := l.nodes[0].found()
	two := l.nodes[1]
	two.args, two.token = one.invite(), one.token
	two.start()
	l.awaitLive(healing)
	one.deploy("steady", "ok")
	l.awaitHeard(2, healing)
	one.await("the manager", healing, func() bool { return one.cluster().Epoch > 0 })
	leadership := func() string { return one.sql(`SELECT epoch, raft_term, node_id, acquired_at FROM leadership`) }
	before := leadership()

	calls := underLoad("steady", one, two)
	var executors [][]int
	var goroutines, threads []float64
	for _, n := range l.nodes {
		n.await("an executor", healing, func() bool { return len(n.executors()) > 0 })
		executors = append(executors, n.executors())
		goroutines = append(goroutines, n.metric("go_goroutines"))
		threads = append(threads, n.metric("go_threads"))
	}
	reloads, failed := either(50, 500), 0
	for i := range reloads {
		n := l.nodes[i%2]
		bad := ""
		switch i % 20 {
		case 9: // the new configuration starts, and stops again
			bad = "http://192.0.2.1:9 {\n\tbind 192.0.2.1\n\trespond no\n}\n"
		case 18: // it cannot be read
			bad = "no {\n"
		}
		n.configure(bad)
		_, stderr, code := n.cli("reload")
		if bad == "" {
			require.Zero(t, code, stderr)
			continue
		}
		failed++
		require.NotZero(t, code)
		require.NotEmpty(t, stderr)
	}
	require.NotZero(t, failed)
	for i, n := range l.nodes {
		require.Equal(t, executors[i], n.executors(), "%s has the same executors", n.name)
		n.await("the goroutines of the reloads to end", 30*time.Second, func() bool { return n.metric("go_goroutines") < goroutines[i]+30 })
		require.Equal(t, 2, n.heard())
		require.False(t, n.ended())
		t.Logf("%s: %d reloads of both nodes, %d of them refused: %.0f goroutines before and %.0f after, %.0f threads before and %.0f after",
			n.name, reloads, failed, goroutines[i], n.metric("go_goroutines"), threads[i], n.metric("go_threads"))
	}
	calls.requireAll(two)
	require.Equal(t, before, leadership(), "no election took place")
	l.awaitLive(healing)
}

// configure writes the node's Caddyfile: its settings come from the environment, and its
// sites are those of PiCloud unless there is one of somebody's own.
func (n *node) configure(site string) {
	n.t.Helper()
	require.NoError(n.t, os.WriteFile(filepath.Join(n.dir, "Caddyfile"), []byte("{\n\tpicloud\n}\n"+site), 0o600))
}

// executors are the processes of the node's executors, in order.
func (n *node) executors() (pids []int) {
	for pid, name := range children(n.cmd.Process.Pid) {
		if !strings.HasPrefix(name, "postgres") {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}
