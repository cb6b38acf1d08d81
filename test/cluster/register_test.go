package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// register is one function whose versions count up, and callers that hold every node to
// what it has acknowledged: a call that begins later sees no older version.
type register struct {
	l      *lab
	last   int
	floors map[string]*atomic.Int64 // by the name of a node, the newest version that it acknowledged
	calls  map[string]*atomic.Int64 // that were answered
	stale  atomic.Int64
	first  atomic.Pointer[string] // the first stale answer
	stop   chan struct{}
	tasks  sync.WaitGroup
}

// watched begins to call all nodes, with several callers each.
func watched(l *lab) *register {
	r := &register{l: l, floors: map[string]*atomic.Int64{}, calls: map[string]*atomic.Int64{}, stop: make(chan struct{})}
	for _, n := range l.nodes {
		r.floors[n.name], r.calls[n.name] = &atomic.Int64{}, &atomic.Int64{}
	}
	require.True(l.t, r.deploy(l.nodes[0], "all").Complete)
	for _, n := range l.nodes {
		for range 3 {
			r.tasks.Go(func() { r.call(n) })
		}
	}
	l.t.Cleanup(r.end)
	return r
}

// call calls a node until the end.
func (r *register) call(n *node) {
	floor, calls := r.floors[n.name], r.calls[n.name]
	for {
		select {
		case <-r.stop:
			return
		default:
		}
		least := floor.Load() // before the call begins
		status, body := n.call("register")
		if status != http.StatusOK {
			pause(time.Millisecond) // the node is off, or boots
			continue
		}
		calls.Add(1)
		if got, err := strconv.ParseInt(body, 10, 64); err != nil || got < least {
			said := fmt.Sprintf("%s answers %q, and has acknowledged %d", n.name, body, least)
			r.first.CompareAndSwap(nil, &said)
			r.stale.Add(1)
		}
	}
}

// acks is what a deploy says of the nodes.
type acks struct {
	Status   int `json:"-"`
	Took     time.Duration
	Nodes    []string
	Missing  []string
	Complete bool
}

// deploy makes the next version live through a node, and raises what those nodes are held
// to that have acknowledged it.
func (r *register) deploy(through *node, wait string) (a acks) {
	r.l.t.Helper()
	r.last++
	begun := time.Now()
	status, answer := through.do(http.MethodPut,
		through.control("/api/v1/apps/default/functions/register/code?create=true&deploy=true&wait="+wait), returning(strconv.Itoa(r.last)))
	require.Contains(r.l.t, []int{http.StatusOK, http.StatusCreated, http.StatusAccepted}, status, answer)
	require.NoError(r.l.t, json.Unmarshal([]byte(answer), &struct{ Acks *acks }{&a}))
	a.Status, a.Took = status, time.Since(begun)
	require.Equal(r.l.t, a.Complete, status != http.StatusAccepted, answer)
	for _, name := range a.Nodes {
		r.floors[name].Store(int64(r.last))
	}
	return a
}

// total is how many calls were answered.
func (r *register) total() (n int64) {
	for _, calls := range r.calls {
		n += calls.Load()
	}
	return n
}

// end ends the callers.
func (r *register) end() {
	select {
	case <-r.stop:
	default:
		close(r.stop)
	}
	r.tasks.Wait()
}

func (r *register) requireFresh() {
	r.l.t.Helper()
	if first := r.first.Load(); first != nil {
		r.l.t.Fatalf("%d of %d calls saw an old version; the first: %s", r.stale.Load(), r.total(), *first)
	}
}

// TestNoCallSeesAnOldVersion: after a deploy was acknowledged by a node, no call that begins
// there later sees the version before it: while all nodes are there, while one is off, when
// it is back, and whatever the deploy waited for.
func TestNoCallSeesAnOldVersion(t *testing.T) {
	t.Parallel()
	l := begin(t, 3)
	one, three := l.nodes[0], l.nodes[2]
	l.awaitHeard(3, healing)
	r := watched(l)
	calls := int64(either(10_000, 100_000))
	deploys := 0
	for ; r.total() < calls || deploys < 20; deploys++ {
		a := r.deploy(l.nodes[deploys%3], "all")
		require.True(t, a.Complete, a)
		require.Equal(t, []string{"pi-1", "pi-2", "pi-3"}, a.Nodes)
		r.requireFresh()
	}
	t.Logf("%d calls and %d deploys: none saw an old version", r.total(), deploys)

	t.Log("one node loses its power: the others are complete without it, and say so")
	held := r.floors["pi-3"].Load()
	three.power()
	before, deploys := r.total(), 0
	for ; r.total() < before+calls/2; deploys++ {
		a := r.deploy(one, "all")
		require.Equal(t, http.StatusAccepted, a.Status)
		require.Equal(t, []string{"pi-1", "pi-2"}, a.Nodes)
		require.Equal(t, []string{"pi-3"}, a.Missing)
		r.requireFresh()
	}
	a := r.deploy(one, "quorum")
	require.True(t, a.Complete, "two of three")
	require.Equal(t, []string{"pi-3"}, a.Missing)
	require.Less(t, a.Took, 4*time.Second)
	a = r.deploy(one, "none")
	require.True(t, a.Complete)
	require.Equal(t, []string{"pi-1"}, a.Nodes, "the node that made the change")
	t.Logf("%d calls and %d deploys without pi-3", r.total()-before, deploys+2)

	t.Log("it is back: it begins with what it had acknowledged")
	require.Equal(t, held, r.floors["pi-3"].Load())
	answered := r.calls["pi-3"].Load()
	three.launch()
	newest := strconv.Itoa(r.last)
	three.awaitAnswer("register", newest, 10*time.Second)
	three.await("calls on it", 10*time.Second, func() bool { return r.calls["pi-3"].Load() > answered+100 })
	r.requireFresh()

	t.Log("a node that is frozen lets a quorum go on")
	three.awaitReady(20 * time.Second)
	three.await("a deploy on every node", healing, func() bool { return r.deploy(one, "all").Complete })
	three.signal(syscall.SIGSTOP)
	a = r.deploy(one, "quorum")
	require.True(t, a.Complete)
	require.Equal(t, []string{"pi-1", "pi-2"}, a.Nodes)
	require.Equal(t, []string{"pi-3"}, a.Missing)
	require.Less(t, a.Took, 4*time.Second, "it does not wait for the rest")
	three.signal(syscall.SIGCONT)
	newest = strconv.Itoa(r.last)
	three.awaitAnswer("register", newest, 10*time.Second)
	r.end()
	r.requireFresh()
	t.Logf("%d calls in all", r.total())
}
