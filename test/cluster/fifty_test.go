package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFifty runs fifty nodes on one machine, twelve in the short form: real processes, each in
// a namespace of its own. It measures what a node that does nothing costs, how long a deploy takes
// to be live on all, and how long it takes until all hear each other after a cold start and
// after a network that fell in two halves.
func TestFifty(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	if !l.needsNamespaces() {
		return
	}
	count := either(12, 50)
	one := l.add().found()
	managers := one.invite("--uses", "2")
	serving := one.invite("--role", "node", "--uses", strconv.Itoa(count))
	for i := range count - 1 {
		invitation := serving
		if i < 2 {
			invitation = managers
		}
		l.add(invitation...).token = one.token
	}
	l.introduce()
	begun := time.Now()
	l.together(l.nodes[1:], func(n *node) { n.start() })
	t.Logf("%d nodes, of which %d serve functions only: they joined in %s", count, count-3, time.Since(begun).Round(100*time.Millisecond))
	t.Logf("all heard each other after %s more", l.awaitHeard(count, time.Minute).Round(100*time.Millisecond))
	l.awaitLive(time.Minute)
	one.deploy("steady", "ok")

	var deploys []time.Duration
	for i := range either(10, 100) {
		begun := time.Now()
		one.deploy("f", strconv.Itoa(i))
		deploys = append(deploys, time.Since(begun))
	}
	for _, n := range l.nodes {
		_, body := n.call("f")
		require.Equal(t, strconv.Itoa(len(deploys)-1), body, n.name)
	}
	slices.Sort(deploys)
	t.Logf("a deploy was live on all %d after %s in the median, %s at the slowest of %d", count,
		deploys[len(deploys)/2].Round(time.Millisecond), deploys[len(deploys)-1].Round(time.Millisecond), len(deploys))
	idle, err := time.ParseDuration(os.Getenv("PICLOUD_BENCH_CLUSTER"))
	if err != nil {
		idle = either(3*time.Second, 10*time.Minute)
	}
	l.measureIdle(t, idle)

	t.Log("the network falls in two halves")
	half := l.nodes[count/2:]
	calls := underLoad("steady", l.nodes[0], half[0], half[len(half)-1])
	heal := l.split(half)
	begun = time.Now()
	noticed := one.await("the cut to be noticed", time.Minute, func() bool { return one.heard() < count })
	pause(either(0, time.Minute) - time.Since(begun))
	t.Logf("noticed after %s; after %s the first hears %d nodes", noticed.Round(100*time.Millisecond), time.Since(begun).Round(time.Second), one.heard())
	heal()
	t.Logf("all heard each other %s after the halves met", l.awaitHeard(count, time.Minute).Round(100*time.Millisecond))
	t.Logf("a deploy was live on all %s later", l.awaitLive(time.Minute).Round(100*time.Millisecond))
	calls.requireAll(one)

	t.Log("all stop, and all start at once")
	l.together(l.nodes, func(n *node) { n.stop() })
	begun = time.Now()
	l.together(l.nodes, func(n *node) { n.launch() })
	for _, n := range l.nodes {
		n.awaitReady(time.Minute)
	}
	ready := time.Since(begun)
	for _, n := range l.nodes {
		n.awaitAnswer("steady", "ok", healing)
	}
	l.awaitHeard(count, time.Minute)
	t.Logf("all were ready %s after the start of the first, and had heard each other after %s", ready.Round(100*time.Millisecond), time.Since(begun).Round(100*time.Millisecond))
	l.awaitLive(time.Minute)
	require.Equal(t, strconv.Itoa(count), one.sql("SELECT count(*) FROM node"))
}

// introduce tells each machine where all others are: the kernel remembers 1,024 neighbours of
// all namespaces together, and fifty have 2,450.
func (l *lab) introduce() {
	l.t.Helper()
	mac := func(n *node) string { return fmt.Sprintf("02:00:00:00:00:%02x", n.number) }
	var all strings.Builder
	for _, n := range l.nodes {
		require.NoError(l.t, ip("-n", n.space, "link", "set", "eth0", "address", mac(n)))
		fmt.Fprintf(&all, "neigh replace %s lladdr %s dev eth0 nud permanent\n", n.address, mac(n))
	}
	batch := filepath.Join(l.dir, "neighbours")
	require.NoError(l.t, os.WriteFile(batch, []byte(all.String()), 0o600))
	for _, n := range l.nodes {
		require.NoError(l.t, ip("-n", n.space, "-batch", batch))
	}
}

// together does something with nodes, a few at a time.
func (l *lab) together(nodes []*node, do func(n *node)) {
	l.t.Helper()
	var all sync.WaitGroup
	places := make(chan struct{}, 8)
	for _, n := range nodes {
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			do(n)
		})
	}
	all.Wait()
}

// split moves nodes to a bridge of their own; the result brings them back.
func (l *lab) split(nodes []*node) (heal func()) {
	l.t.Helper()
	require.NoError(l.t, ip("-n", l.space(0), "link", "add", "other", "type", "bridge"))
	require.NoError(l.t, ip("-n", l.space(0), "link", "set", "other", "up"))
	plug := func(bridge string) {
		l.t.Helper()
		for _, n := range nodes {
			require.NoError(l.t, ip("-n", l.space(0), "link", "set", fmt.Sprintf("port%d", n.number), "master", bridge))
		}
	}
	plug("other")
	return func() {
		l.t.Helper()
		plug("hub")
		require.NoError(l.t, ip("-n", l.space(0), "link", "del", "other"))
	}
}

// measureIdle measures what nodes cost that do nothing.
func (l *lab) measureIdle(t *testing.T, window time.Duration) {
	t.Helper()
	one := l.nodes[0]
	l.rest(window)
	type figures struct {
		processor time.Duration
		udp, tcp  int // packets, in and out
	}
	look := func() (all []figures) {
		for _, n := range l.nodes {
			f := figures{processor: n.processor()}
			f.udp = n.protocol("Udp", "InDatagrams") + n.protocol("Udp", "OutDatagrams")
			f.tcp = n.protocol("Tcp", "InSegs") + n.protocol("Tcp", "OutSegs")
			all = append(all, f)
		}
		return all
	}
	before, statements, begun := look(), l.statements(t), time.Now()
	pause(window)
	after, took := look(), time.Since(begun)
	perMinute := float64(l.statements(t)-statements) / took.Minutes() / float64(len(l.nodes))
	var processor, udp, tcp, resident []float64
	for i, n := range l.nodes {
		processor = append(processor, 100*(after[i].processor-before[i].processor).Seconds()/took.Seconds())
		udp = append(udp, float64(after[i].udp-before[i].udp)/took.Seconds())
		tcp = append(tcp, float64(after[i].tcp-before[i].tcp)/took.Seconds())
		resident = append(resident, float64(n.resident())/(1<<20))
	}
	for _, f := range []struct {
		what string
		of   []float64
	}{{"% of a core", processor}, {"UDP packets/s, in and out", udp}, {"TCP segments/s", tcp}, {"MiB resident", resident}} {
		first := f.of[0]
		slices.Sort(f.of)
		t.Logf("idle for %s: %s per node: median %.2f, most %.2f; of the database's board %.2f", took.Round(time.Second), f.what, f.of[len(f.of)/2], f.of[len(f.of)-1], first)
	}
	t.Logf("idle for %s: %.1f SQL statements/min per node; %s sessions of the database are open", took.Round(time.Second), perMinute,
		one.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
	if window > time.Minute {
		require.LessOrEqual(t, perMinute, 6.0)
		require.LessOrEqual(t, processor[len(processor)/2], 0.5)
	}
}

// protocol is a counter of the network of the node's machine.
func (n *node) protocol(name, counter string) int {
	n.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", n.cmd.Process.Pid))
	require.NoError(n.t, err)
	var names []string
	for line := range bytes.Lines(raw) {
		fields := strings.Fields(string(line))
		if fields[0] != name+":" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		value, err := strconv.Atoi(fields[slices.Index(names, counter)])
		require.NoError(n.t, err)
		return value
	}
	n.t.Fatalf("no counter %s of %s", counter, name)
	return 0
}
