package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// header is a header of the answer to a call.
func (n *node) header(function, name string) string {
	return n.send(n.t.Context(), http.MethodGet, n.functions("/fn/default/"+function), "").header.Get(name)
}

// aged makes a node that is off believe that it was cut off for some time.
func (n *node) aged(by time.Duration) {
	n.t.Helper()
	record, err := json.Marshal(map[string]any{"at": time.Now().Add(-by).UTC(), "cut": true})
	require.NoError(n.t, err)
	require.NoError(n.t, os.WriteFile(filepath.Join(n.data, "catalog", "compared.json"), record, 0o600))
}

// counting is a function that needs the database, and catches that it is away.
const counting = `function handle(req) {
  return try { kv.incr("n", 1) } catch (e) { e.code }
}`

// refused is how long a call that needs the database takes to fail on a node.
func (n *node) refused(function string) time.Duration {
	n.t.Helper()
	begun := time.Now()
	status, body := n.call(function)
	took := time.Since(begun)
	require.Equal(n.t, http.StatusOK, status, body)
	require.Equal(n.t, "kv_unavailable", body)
	return took
}

// requireRefusals requires that calls that need the database fail at once, as soon as it is
// known to be away.
func (n *node) requireRefusals(function string, within time.Duration) {
	n.t.Helper()
	known := n.await("the node to know that the database is away", within, func() bool { return n.refused(function) < 50*time.Millisecond })
	var slowest time.Duration
	slow := 0
	for range 200 {
		took := n.refused(function)
		slowest = max(slowest, took)
		if took >= 50*time.Millisecond {
			slow++ // the machine may have been busy for a moment
		}
		pause(10 * time.Millisecond)
	}
	n.t.Logf("%s: known after %s, then 200 calls failed within %s", n.name, known.Round(time.Millisecond), slowest.Round(time.Millisecond))
	require.LessOrEqual(n.t, slow, 4)
}

// TestBlackout boots a node with PostgreSQL, the manager and all peers gone: it serves at
// once, says how old its copy may be, and refuses what it must not or cannot do.
func TestBlackout(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]
	for function, source := range map[string]string{"hello": returning("hello"), "strict": returning("strict"), "count": counting} {
		one.deployCode(function, source)
	}
	_, stderr, code := two.cli("function", "set", "strict", "--max-stale", "5m")
	require.Zero(t, code, stderr)
	for _, n := range l.nodes {
		status, _ := n.call("count")
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, n.header("hello", "X-PiCloud-Stale"), "a node in touch says nothing")
	}
	l.awaitLive(healing) // and with it the setting is on every node
	for _, n := range l.nodes {
		n.power()
	}
	three.aged(10 * time.Minute)
	begun := time.Now()
	three.launch()
	three.await("an answer", 10*time.Second, func() bool { status, _ := three.call("hello"); return status == http.StatusOK })
	took := time.Since(begun)
	t.Logf("it served %s after its process began", took.Round(time.Millisecond))
	require.Less(t, took, 2*time.Second)

	age, err := strconv.Atoi(three.header("hello", "X-PiCloud-Stale"))
	require.NoError(t, err)
	require.InDelta(t, 600, age, 60)
	status, body := three.call("strict")
	require.Equal(t, http.StatusServiceUnavailable, status, body)
	require.Contains(t, body, `"code":"PC1407"`)
	_, body = three.get(three.control("/readyz"))
	require.Contains(t, body, "current_catalog")
	require.InDelta(t, 600, three.metric("picloud_catalog_age_seconds"), 60)
	said, _, _ := three.cli("status")
	require.Contains(t, said, "old", said)
	three.requireRefusals("count", 10*time.Second)

	t.Log("the others are back")
	one.start()
	two.start()
	one.await("a deploy", 20*time.Second, func() bool { status, _ := one.put("hello", returning("again")); return status/100 == 2 })
	healed := three.awaitAnswer("hello", "again", 10*time.Second)
	t.Logf("pi-3 had the newest revision %s after it was deployed", healed.Round(time.Millisecond))
	three.await("no word of age", 10*time.Second, func() bool { return three.header("hello", "X-PiCloud-Stale") == "" })
	status, body = three.call("strict")
	require.Equal(t, http.StatusOK, status, body)
}

// TestTheDatabaseIsAway in the ways that it can be: functions go on, those that need it are
// refused at once as soon as that is known, and after it is back every node is on the newest
// revision within 10 s.
func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]
	l.awaitHeard(3, healing)
	one.deployCode("count", counting)
	one.deploy("steady", "ok")
	for _, n := range l.nodes {
		status, _ := n.call("count")
		require.Equal(t, http.StatusOK, status)
	}
	ways := []struct {
		name  string
		nodes []*node // that go on
		away  func() (back func())
	}{
		{"frozen", l.nodes, one.freezeDatabase},
		{"its board without power", []*node{two, three}, func() func() {
			one.power()
			return func() { one.start() }
		}},
	}
	if l.spaces {
		ways = append(ways, struct {
			name  string
			nodes []*node
			away  func() (back func())
		}{"its board silent", []*node{two, three}, func() func() { return one.part(two, three) }})
	}
	for i, way := range ways {
		t.Log(way.name)
		calls := underLoad("steady", way.nodes...)
		back := way.away()
		for _, n := range way.nodes {
			n.requireRefusals("count", 10*time.Second)
		}
		back()
		// The newest revision is made without a notification that could reach anybody.
		text, begun := fmt.Sprint(way.name, i), time.Now()
		for {
			status, answer := one.put("f", returning(text))
			if status/100 == 2 {
				break
			}
			require.Less(t, time.Since(begun), 20*time.Second, answer)
			pause(20 * time.Millisecond)
		}
		deployed := time.Since(begun)
		for _, n := range l.nodes {
			n.awaitAnswer("f", text, max(10*time.Second-time.Since(begun), 10*time.Millisecond))
			n.await("the key-value store", 10*time.Second, func() bool { _, body := n.call("count"); return !strings.Contains(body, "kv_") })
		}
		t.Logf("after its end: a deploy after %s, all nodes have it and the key-value store after %s",
			deployed.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
		calls.requireAll(one)
		l.awaitLive(healing)
	}
}
