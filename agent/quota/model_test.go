package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
)

// The model runs nodes in steps of virtual time. Each has a clock of its own that runs up
// to 5 % fast or slow. Questions and answers take up to 200 ms each, and some are lost.

const step = 10 * time.Millisecond

var fn = picloud.RouteKey{App: "shop", Function: "pay"}

// fakeGate is a gate in virtual time.
type fakeGate struct {
	n       *node
	limit   int
	until   time.Time
	short   func()
	running []time.Duration // when each call ends
	waiting int
	peak    int
}

func (g *fakeGate) places() int {
	if g.until.IsZero() || g.n.now().Before(g.until) {
		return g.limit
	}
	return 0
}

func (g *fakeGate) Allot(n int, until time.Time) { g.limit, g.until = n, until }
func (g *fakeGate) Watch(short func())           { g.short = short }
func (g *fakeGate) Demand() (running, waiting, peak int) {
	peak, g.peak = g.peak, len(g.running)+g.waiting
	return len(g.running), g.waiting, peak
}

// node is one node of the world, and what runs on it.
type node struct {
	w     *world
	id    string
	rate  float64
	up    bool
	view  View
	quota *Quota
	gate  *fakeGate
	boots int
}

func (n *node) now() time.Time {
	return time.Unix(0, 0).Add(time.Duration(float64(n.w.at) * n.rate))
}

// event is something that happens later.
type event struct {
	at time.Duration
	do func()
}

type world struct {
	t        require.TestingT
	rand     *rand.Rand
	limit    int
	at       time.Duration
	nodes    []*node
	events   []event
	loss     float64
	lost     map[string]int            // how many in a row, by way
	cut      func(from, to *node) bool // nil: nobody is cut off
	load     map[string]int            // calls that each node's callers keep under way
	duration func() time.Duration
	asks     int
}

func newWorld(t require.TestingT, count, limit int, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), limit: limit, lost: map[string]int{}, load: map[string]int{}}
	w.duration = func() time.Duration { return time.Duration(20+w.rand.IntN(300)) * time.Millisecond }
	for i := range count {
		w.nodes = append(w.nodes, &node{w: w, id: fmt.Sprintf("n%d", i), rate: 0.95 + w.rand.Float64()/10})
	}
	for _, n := range w.nodes {
		n.start(w.nodes)
	}
	return w
}

// start starts a node that hears of the given ones.
func (n *node) start(alive []*node) {
	n.up, n.boots = true, n.boots+1
	n.gate = &fakeGate{n: n}
	n.quota = New(Options{
		View: func() (string, View) { return n.id, n.view },
		Ask: func(context.Context, string, Ask) (Answer, error) {
			return Answer{}, errors.New("the model asks itself")
		},
	})
	n.quota.boot = fmt.Sprint(n.id, n.boots)
	n.quota.now = n.now
	n.quota.running = true // the model is the loop
	n.see(alive)
	n.quota.Enter(fn, n.w.limit, n.gate)
}

func (n *node) see(alive []*node) {
	n.view = View{}
	for _, m := range n.w.nodes {
		n.view.Members = append(n.view.Members, m.id)
		if m == n || slices.Contains(alive, m) {
			n.view.Alive = append(n.view.Alive, m.id)
		}
	}
	n.quota.Changed()
}

func (w *world) later(in time.Duration, do func()) { w.events = append(w.events, event{w.at + in, do}) }

// delay is how long a message takes.
func (w *world) delay() time.Duration { return time.Duration(w.rand.IntN(200)) * time.Millisecond }

// fate says whether a question and its answer come through. No more than two exchanges in a
// row fail between two nodes, unless these are cut off: that is a partition.
func (w *world) fate(from, to *node) (there, back bool) {
	way := from.id + to.id
	if w.cut != nil && w.cut(from, to) {
		return false, false
	}
	if w.rand.Float64() >= w.loss || w.lost[way] == 2 {
		w.lost[way] = 0
		return true, true
	}
	w.lost[way]++
	return w.rand.IntN(2) == 0, false
}

func (w *world) node(id string) *node {
	return w.nodes[slices.IndexFunc(w.nodes, func(n *node) bool { return n.id == id })]
}

// poll sends what a node has to ask.
func (w *world) poll(n *node) {
	batches, _, more := n.quota.due(n.now())
	if !more {
		n.quota.running = true
	}
	for _, b := range batches {
		quota := n.quota
		if b.local {
			quota.taken(b, quota.Answer(n.id, b.ask), nil, n.now())
			continue
		}
		w.asks++
		done := false
		finish := func(a Answer, err error) {
			if !done && n.up && n.quota == quota {
				done = true
				quota.taken(b, a, err, n.now())
			}
		}
		w.later(patienceOfAsk, func() { finish(Answer{}, context.DeadlineExceeded) })
		keeper := w.node(b.node)
		there, back := w.fate(n, keeper)
		if !there {
			continue
		}
		w.later(w.delay(), func() {
			if !keeper.up {
				return
			}
			if answer := keeper.quota.Answer(n.id, b.ask); back {
				w.later(w.delay(), func() { finish(answer, nil) })
			}
		})
	}
}

// turn lets calls of a node end, and others begin.
func (w *world) turn(n *node) {
	g := n.gate
	g.running = slices.DeleteFunc(g.running, func(end time.Duration) bool { return end <= w.at })
	for len(g.running)+g.waiting < w.load[n.id] { // callers that wait for an answer each
		g.waiting++
		g.peak = max(g.peak, len(g.running)+g.waiting)
		if len(g.running)+g.waiting > g.places() {
			g.short()
		}
	}
	g.waiting = min(g.waiting, max(w.load[n.id]-len(g.running), 0))
	for g.waiting > 0 && len(g.running) < g.places() {
		g.waiting--
		g.running = append(g.running, w.at+w.duration())
	}
}

// run lets time pass, and calls check in each step with what runs in all.
func (w *world) run(d time.Duration, check func(running int)) {
	for end := w.at + d; w.at < end; {
		w.at += step
		var now []event
		w.events = slices.DeleteFunc(w.events, func(e event) bool {
			if e.at > w.at {
				return false
			}
			now = append(now, e)
			return true
		})
		for _, e := range now {
			e.do()
		}
		running := 0
		for _, n := range w.nodes {
			if n.up {
				w.turn(n)
				w.poll(n)
				running += len(n.gate.running)
			}
		}
		check(running)
	}
}

// atMost is a check that no more calls run.
func (w *world) atMost(n int) func(int) {
	return func(running int) {
		if running > n {
			require.Failf(w.t, "too many calls run", "%d of %d at %s: %s", running, n, w.at, w.describe())
		}
	}
}

func (w *world) describe() (out string) {
	for _, n := range w.nodes {
		if n.up {
			out += fmt.Sprintf(" %s: %d run, %d wait, %d allotted; keeper %s;", n.id, len(n.gate.running), n.gate.waiting, n.gate.places(), n.view.keeper(fn))
		}
	}
	return out
}

// tell makes the nodes hear who is alive, each up to a second after the first.
func (w *world) tell(after time.Duration) {
	for _, n := range w.nodes {
		boot := n.boots
		w.later(after+time.Duration(w.rand.IntN(900))*time.Millisecond, func() {
			if n.up && n.boots == boot {
				n.see(slices.DeleteFunc(slices.Clone(w.nodes), func(m *node) bool { return !m.up }))
			}
		})
	}
}

// TestModel holds the sum of the calls of all nodes to the limit, in each step, while
// messages are lost, clocks differ, load moves, and nodes die and come back.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		count, limit := rapid.IntRange(2, 5).Draw(rt, "nodes"), rapid.IntRange(1, 12).Draw(rt, "limit")
		w := newWorld(rt, count, limit, rapid.Uint64().Draw(rt, "seed"))
		w.loss = rapid.SampledFrom([]float64{0, 0.1, 0.4}).Draw(rt, "loss")
		check := w.atMost(limit)
		for range rapid.IntRange(1, 8).Draw(rt, "phases") {
			n := w.nodes[rapid.IntRange(0, count-1).Draw(rt, "node")]
			switch what := rapid.IntRange(0, 5).Draw(rt, "what"); {
			case what == 0 && n.up: // it dies
				n.up = false
				w.tell(time.Duration(rapid.IntRange(1, 12).Draw(rt, "seconds")) * time.Second)
			case what == 1 && !n.up: // it starts, and is heard of
				n.start(nil)
				w.tell(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "ms")) * time.Millisecond)
			default:
				w.load[n.id] = rapid.IntRange(0, 2*limit).Draw(rt, "load")
			}
			w.run(time.Duration(rapid.IntRange(1, 15).Draw(rt, "for"))*time.Second, check)
		}
	})
}

// settledWorld is one whose keepers may give.
func settledWorld(t *testing.T, count, limit int) *world {
	w := newWorld(t, count, limit, 7)
	w.run(settle+settle/4, w.atMost(limit))
	return w
}

// used is the mean of what runs over a time.
func (w *world) used(d time.Duration) float64 {
	sum, steps, check := 0, 0, w.atMost(w.limit)
	w.run(d, func(running int) { sum += running; steps++; check(running) })
	return float64(sum) / float64(steps)
}

// TestOneBusyNodeHasTheWholeLimit: within two seconds, also while the limit was in use
// elsewhere right before.
func TestOneBusyNodeHasTheWholeLimit(t *testing.T) {
	for _, limit := range []int{1, 2, 10, 100} {
		w := settledWorld(t, 3, limit)
		w.duration = func() time.Duration { return step * 5 }
		for _, n := range w.nodes {
			w.load = map[string]int{n.id: 2 * limit}
			w.run(2*time.Second, w.atMost(limit))
			require.GreaterOrEqual(t, w.used(3*time.Second), 0.9*float64(limit), "limit %d on %s:%s", limit, n.id, w.describe())
		}
	}
}

// TestTheLimitIsSharedFairly: each node gets what it wants, or as much as the others.
func TestTheLimitIsSharedFairly(t *testing.T) {
	w := settledWorld(t, 3, 30)
	w.load = map[string]int{"n0": 60, "n1": 60, "n2": 4}
	w.run(3*time.Second, w.atMost(30))
	require.GreaterOrEqual(t, w.used(3*time.Second), 27.0)
	got := map[string]int{}
	for _, n := range w.nodes {
		got[n.id] = n.gate.places()
	}
	require.Equal(t, map[string]int{"n0": 13, "n1": 13, "n2": 4}, got)
}

// TestFewerPlacesThanNodes: they go round, and hardly any time is lost.
func TestFewerPlacesThanNodes(t *testing.T) {
	w := settledWorld(t, 4, 1)
	w.duration = func() time.Duration { return step * 5 }
	for _, n := range w.nodes {
		w.load[n.id] = 3
	}
	turns, sum, steps, check := map[string]int{}, 0, 0, w.atMost(1)
	w.run(40*time.Second, func(running int) {
		check(running)
		sum, steps = sum+running, steps+1
		for _, n := range w.nodes {
			turns[n.id] += len(n.gate.running)
		}
	})
	require.Greater(t, sum, steps*6/10)
	for _, n := range w.nodes {
		require.InEpsilon(t, sum/4, turns[n.id], 0.3, turns)
	}
}

// TestAtRestNobodyAsks: some seconds after the last call no node sends anything, and a
// function that is used steadily costs one question a second.
func TestAtRestNobodyAsks(t *testing.T) {
	w := settledWorld(t, 3, 10)
	keeper := w.nodes[0].view.keeper(fn)
	other := w.nodes[slices.IndexFunc(w.nodes, func(n *node) bool { return n.id != keeper })]
	require.Zero(t, w.asks, "nobody has called anything")
	w.load[other.id] = 5
	w.run(5*time.Second, w.atMost(10))
	w.asks = 0
	w.run(10*time.Second, w.atMost(10))
	require.InDelta(t, 10, w.asks, 2)
	clear(w.load)
	w.run(idle+2*time.Second, w.atMost(10))
	w.asks = 0
	w.run(time.Minute, w.atMost(0))
	require.Zero(t, w.asks)
	for _, n := range w.nodes {
		require.Empty(t, n.quota.active)
		require.Zero(t, n.gate.places(), "what is not used is given back")
	}
}

// TestWhenTheKeeperDies: until the others have heard of it they run their floors, which
// add up to the limit, and afterwards the limit.
func TestWhenTheKeeperDies(t *testing.T) {
	for _, limit := range []int{2, 12} {
		w := settledWorld(t, 3, limit)
		keeper := w.node(w.nodes[0].view.keeper(fn))
		for _, n := range w.nodes {
			w.load[n.id] = 2 * limit
		}
		w.run(5*time.Second, w.atMost(limit))
		keeper.up = false
		w.run(6*time.Second, w.atMost(limit))
		floors := 0
		for _, n := range w.nodes {
			if n.up {
				floors += n.view.floor(fn, n.id, limit)
				require.Equal(t, n.view.floor(fn, n.id, limit), n.gate.places(), w.describe())
			}
		}
		require.Equal(t, limit-(limit+2)/3, floors)
		w.tell(0)
		w.run(settle+3*time.Second, w.atMost(limit))
		require.GreaterOrEqual(t, w.used(3*time.Second), 0.9*float64(limit), w.describe())
	}
}

// TestAPartition: each side may run the limit, and no more; once the nodes hear each other
// again, the sum is the limit.
func TestAPartition(t *testing.T) {
	const limit = 9
	w := settledWorld(t, 3, limit)
	for _, n := range w.nodes {
		w.load[n.id] = 2 * limit
	}
	w.run(3*time.Second, w.atMost(limit))
	left, right := w.nodes[:1], w.nodes[1:]
	w.cut = func(from, to *node) bool { return (from == w.nodes[0]) != (to == w.nodes[0]) }
	sides := func(running int) {
		w.atMost(2 * limit)(running)
		require.LessOrEqual(t, len(w.nodes[0].gate.running), limit)
		require.LessOrEqual(t, len(w.nodes[1].gate.running)+len(w.nodes[2].gate.running), limit)
	}
	w.run(8*time.Second, sides)
	w.nodes[0].see(left)
	for _, n := range right {
		n.see(right)
	}
	w.run(10*time.Second, sides)
	require.GreaterOrEqual(t, len(w.nodes[0].gate.running), limit-1, "each side goes on")
	w.cut = nil
	w.tell(0)
	w.run(settle+time.Second, sides)
	w.run(10*time.Second, w.atMost(limit))
}

// TestDespair: a node that never reaches a keeper which the gossip holds for alive runs at
// least one call at a time, some time later.
func TestDespair(t *testing.T) {
	w := settledWorld(t, 4, 1)
	keeper := w.nodes[0].view.keeper(fn)
	i := slices.IndexFunc(w.nodes, func(n *node) bool { return n.id != keeper && n.view.floor(fn, n.id, 1) == 0 })
	n := w.nodes[i]
	w.cut = func(from, to *node) bool { return from == n || to == n }
	w.load[n.id] = 2
	w.run(despair-time.Second, w.atMost(0))
	w.run(3*time.Second, w.atMost(1))
	require.NotEmpty(t, n.gate.running)
}

// TestOldQuestionsCountForNothing: one that comes after a newer one changes nothing.
func TestOldQuestionsCountForNothing(t *testing.T) {
	now := time.Unix(100, 0)
	l := newLedger("a", View{Members: []string{"a", "b"}, Alive: []string{"a"}}, now.Add(-time.Hour))
	ask := func(boot string, seq uint64, holds, wants int) Answer {
		item := Item{App: fn.App, Function: fn.Function, Limit: 10, Holds: holds, Wants: wants}
		return l.answer("b", Ask{Boot: boot, Seq: seq, Items: []Item{item}}, func(picloud.RouteKey) (int, bool) { return 0, false }, now)
	}
	require.Equal(t, 8, ask("x", 2, 0, 6).Shares[0].Granted, "what it wants, and two in advance")
	require.Empty(t, ask("x", 1, 0, 0).Shares)
	require.Equal(t, 8, l.accounts[fn]["b"].n)
	require.Len(t, ask("y", 1, 0, 1).Shares, 1, "another process begins anew")
	require.Equal(t, 2, l.accounts[fn]["b"].n)
	require.Equal(t, []string{"b"}, slices.Collect(maps.Keys(l.accounts[fn])))
	now = now.Add(time.Minute)
	ask("y", 2, 0, 0)
	require.Empty(t, l.accounts, "what nobody uses is forgotten")
}
