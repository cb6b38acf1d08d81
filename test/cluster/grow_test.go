package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestGrowth grows a cluster and shrinks it again under load, with a database elsewhere, so
// that no node is more than the others. Every call on a node that is in service is answered,
// each size takes part in deploys and has its manager, all stop and all start at the end,
// and all the time it is the same cluster. In the long form the nodes vote before each step,
// and the oldest ones leave.
func TestGrowth(t *testing.T) {
	t.Parallel()
	l, e := beginElsewhere(t, 1)
	one := l.nodes[0]
	one.deploy("steady", "ok")
	id := one.cluster().ID
	require.NotEmpty(t, id)
	calls := underLoad("steady", one)
	all := []*node{one}
	for _, size := range either([]int{2, 3, 2, 1}, []int{2, 3, 5, 3, 1}) {
		for len(all) < size {
			all = append(all, l.join(all[0].invite()))
		}
		for len(all) > size {
			leaver := all[len(all)-1]
			if long() {
				leaver = all[0]
			}
			all = slices.DeleteFunc(slices.Clone(all), func(n *node) bool { return n == leaver })
			calls.on(all...)
			leaver.stop()
			all[0].await("its removal", time.Minute, func() bool {
				_, stderr, code := all[0].cli("node", "rm", leaver.name, "--yes")
				if code != 0 {
					t.Log(stderr)
				}
				return code == 0
			})
		}
		calls.on(all...)
		if long() {
			t.Logf("%d of %d nodes voted after %s", voters(size), size, all[0].await("the votes", 3*time.Minute, func() bool {
				return len(all[0].cluster().Voters) == voters(size)
			}))
		}
		l.awaitLive(healing)
		if size > 1 {
			l.awaitHeard(size, healing)
		}
		text := fmt.Sprint(size, " nodes")
		all[0].deploy("f", text)
		for _, n := range all {
			_, body := n.call("f")
			require.Equal(t, text, body, n.name)
			c := n.cluster()
			require.Equal(t, id, c.ID)
			require.Equal(t, size, c.Nodes)
			require.Equal(t, e.manager(l).name, c.Manager)
		}
		list, _, _ := all[0].cli("node", "ls")
		require.Equal(t, size, strings.Count(list, "pi-"), list)
		if size == 3 && len(l.nodes) == slices.Max(either([]int{3}, []int{5})) {
			calls.requireAll(all[0])
			restart(all)
			l.awaitLive(30 * time.Second)
			require.Equal(t, id, all[0].cluster().ID)
			for _, n := range all {
				_, body := n.call("f")
				require.Equal(t, text, body, n.name)
			}
			calls = underLoad("steady", all...)
		}
	}
	calls.requireAll(all[0])
}

// voters is how many nodes vote in a cluster of a size.
func voters(size int) int {
	if size < 3 {
		return 1
	}
	return 3
}

// restart stops all nodes, and starts them when none is left.
func restart(nodes []*node) {
	for _, n := range nodes {
		n.stop()
	}
	for _, n := range nodes {
		n.launch()
	}
	for _, n := range nodes {
		n.awaitReady(time.Minute)
	}
}
