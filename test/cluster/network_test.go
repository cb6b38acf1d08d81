package cluster

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// healing is how long a cluster may take after a fault has ended until all nodes take part.
const healing = 20 * time.Second

// needsNamespaces reports whether the lab can cut networks. Everybody else has said so.
func (l *lab) needsNamespaces() bool {
	if !l.spaces {
		l.t.Log("cutting a network needs network namespaces; make test runs as root in CI")
	}
	return l.spaces
}

// TestPartitions cuts the network in both directions and in one, for longer than a node
// that is gone is remembered: functions answer all along, and the nodes find each other again.
func TestPartitions(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	if !l.needsNamespaces() {
		return
	}
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]
	l.awaitHeard(3, healing)
	one.deploy("steady", "ok")
	cuts := []time.Duration{12 * time.Second}
	if long() {
		cuts = append(cuts, time.Minute, 10*time.Minute)
	}
	for _, cut := range cuts {
		calls := underLoad("steady", one, two, three)
		heal := three.part(one, two)
		pause(cut)
		require.Less(t, three.heard(), 3, "the cut has been noticed")
		status, body := three.put("f", returning("no"))
		require.Equal(t, http.StatusServiceUnavailable, status, body)
		status, body = two.put("f", returning("without pi-3"))
		require.Equal(t, http.StatusAccepted, status, body)
		require.Contains(t, body, `"missing":["pi-3"]`)
		heal()
		t.Logf("a partition of %s: pi-3 was on the newest revision after %s, all heard each other after %s, and took part after %s", cut,
			three.awaitAnswer("f", "without pi-3", 10*time.Second),
			l.awaitHeard(3, healing), l.awaitLive(healing))
		calls.requireAll(one)
	}

	t.Log("one direction only")
	calls := underLoad("steady", one, two, three)
	heal := cut(t, three.to(one, two)...)
	pause(either(6*time.Second, time.Minute))
	heal()
	l.awaitHeard(3, healing)
	l.awaitLive(healing)
	calls.requireAll(one)
}

// TestAddressesChange gives nodes other addresses while they run and while they are off,
// also the one that has the database.
func TestAddressesChange(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	if !l.needsNamespaces() {
		return
	}
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]
	l.awaitHeard(3, healing)
	for _, c := range []struct {
		what      string
		off, runs []*node // what moves while it is off, and while it runs
		short     bool
	}{
		{"a node that runs and the database's, which is off", []*node{one}, []*node{three}, true},
		{"a node that is off", []*node{two}, nil, false},
		{"the database's node, running", nil, []*node{one}, false},
	} {
		if !c.short && !long() {
			continue
		}
		for _, n := range c.off {
			n.stop()
		}
		moved := append(slices.Clone(c.off), c.runs...)
		for _, n := range moved {
			n.move(strings.Replace(n.address, ".77.0.", ".77.0.1", 1))
		}
		for _, n := range c.off {
			n.start()
		}
		begun := time.Now()
		for _, n := range l.nodes {
			n.await("the new addresses", time.Minute, func() bool {
				list, _, _ := n.cli("node", "ls")
				return !slices.ContainsFunc(moved, func(m *node) bool { return !strings.Contains(list, m.address+":7947") })
			})
		}
		l.awaitHeard(3, time.Minute)
		l.awaitLive(healing)
		t.Logf("%s: every node knew and heard the others after %s", c.what, time.Since(begun))
	}
}

// awaitHeard waits until each node hears count nodes in the gossip, itself included.
func (l *lab) awaitHeard(count int, within time.Duration) time.Duration {
	l.t.Helper()
	begun := time.Now()
	for _, n := range l.running() {
		n.await("the gossip of the others", within-time.Since(begun), func() bool { return n.heard() == count })
	}
	return time.Since(begun)
}

// heard is how many nodes are alive as this node hears in the gossip; 0: it does not say.
func (n *node) heard() int { return int(n.metric(`picloud_cluster_members{state="alive"}`)) }
