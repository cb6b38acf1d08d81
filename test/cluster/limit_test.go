package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slow is a function that says from when to when it ran, in microseconds.
const slow = `function handle(req) {
	let begun = time.now().rfc3339
	time.sleep("200ms")
	return {begun: begun, ended: time.now().rfc3339}
}`

// crowd calls a function on nodes all the time, from several callers each.
type crowd struct {
	stop    chan struct{}
	callers sync.WaitGroup

	mu     sync.Mutex
	ran    []span
	failed map[string]int
}

// span is one call, by its own clock: all nodes of a lab are on one machine.
type span struct {
	node  string
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended"`
}

// callSlow begins to call the function slow from so many callers on each node.
func callSlow(callers int, nodes ...*node) *crowd {
	c := &crowd{stop: make(chan struct{}), failed: map[string]int{}}
	for _, n := range nodes {
		for range callers {
			c.callers.Go(func() { c.call(n) })
		}
	}
	return c
}

func (c *crowd) call(n *node) {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		status, body := n.call("slow")
		s := span{node: n.name}
		c.mu.Lock()
		if status == http.StatusOK && json.Unmarshal([]byte(body), &s) == nil {
			c.ran = append(c.ran, s)
		} else {
			c.failed[fmt.Sprintf("%s: %d", n.name, status)]++
		}
		c.mu.Unlock()
		if status == 0 {
			pause(100 * time.Millisecond) // the node is gone
		}
	}
}

// end stops the callers, and returns the calls that were answered.
func (c *crowd) end() []span {
	close(c.stop)
	c.callers.Wait()
	return c.ran
}

// atOnce returns the most calls that ran at once, and how many did on average between two
// times.
func atOnce(ran []span, from, to time.Time) (most int, mean float64) {
	type edge struct {
		at   time.Time
		more int
	}
	var edges []edge
	var busy time.Duration
	for _, s := range ran {
		edges = append(edges, edge{s.Begun, 1}, edge{s.Ended, -1})
		if begun, ended := maxTime(s.Begun, from), minTime(s.Ended, to); ended.After(begun) {
			busy += ended.Sub(begun)
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if d := a.at.Compare(b.at); d != 0 {
			return d
		}
		return a.more - b.more
	})
	now := 0
	for _, e := range edges {
		now += e.more
		most = max(most, now)
	}
	return most, busy.Seconds() / to.Sub(from).Seconds()
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// TestALimitHoldsOverAllNodes: the calls of all nodes together are as many as the function
// may have, and no more: on one busy node, on all of them, and when one of them dies.
func TestALimitHoldsOverAllNodes(t *testing.T) {
	t.Parallel()
	const limit = 12
	l := begin(t, 3)
	one, two, three := l.nodes[0], l.nodes[1], l.nodes[2]
	l.awaitHeard(3, healing)
	status, answer := one.put("slow", slow)
	require.Equal(t, http.StatusCreated, status, answer)
	_, stderr, code := one.cli("function", "set", "slow", "--concurrency", fmt.Sprint(limit))
	require.Zero(t, code, stderr)
	pause(6 * time.Second) // a keeper that is new gives nothing for 5 s
	require.Zero(t, questions(one, two, three), "nobody has called the function")

	measure := func(what string, callers int, nodes ...*node) {
		begun := time.Now()
		c := callSlow(callers, nodes...)
		pause(either(8*time.Second, time.Minute))
		steady := time.Now()
		ran := c.end()
		most, mean := atOnce(ran, begun.Add(2*time.Second), steady)
		t.Logf("%s: of %d allowed at most %d ran at once, %.1f on average from 2 s on; %d calls", what, limit, most, mean, len(ran))
		require.LessOrEqual(t, most, limit+limit/10, what)
		require.GreaterOrEqual(t, mean, 0.8*limit, what) // what an answer takes on its way is no use of a place
		require.Empty(t, c.failed, what)
	}
	measure("one node is busy", 2*limit, two)
	measure("another one is, right afterwards", 2*limit, three)
	require.NotZero(t, questions(one, two, three))
	measure("all are busy", limit, one, two, three)

	begun := time.Now()
	c := callSlow(limit, one, two, three)
	pause(3 * time.Second)
	three.power()
	died := time.Now()
	pause(25 * time.Second) // until the gossip has noticed, and 5 s more
	steady := time.Now()
	ran := c.end()
	most, mean := atOnce(ran, steady.Add(-3*time.Second), steady)
	_, gap := atOnce(ran, died.Add(500*time.Millisecond), died.Add(15*time.Second))
	before, _ := atOnce(ran, begun, died)
	t.Logf("a node is killed: at most %d ran at once, %d before; %.1f on average in the 15 s after, %.1f at the end", most, before, gap, mean)
	require.LessOrEqual(t, most, limit+limit/10)
	require.GreaterOrEqual(t, mean, 0.8*limit, "the others have the part of the dead node")
	require.GreaterOrEqual(t, gap, 0.3*limit, "the others go on all the while")
	for what := range c.failed {
		require.True(t, strings.HasPrefix(what, three.name), what)
	}
}

// questions is how often nodes have asked one another for a part of a limit.
func questions(nodes ...*node) (n float64) {
	for _, o := range nodes {
		n += o.metric("picloud_limit_questions_total")
	}
	return n
}
