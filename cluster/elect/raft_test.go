package elect

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/service"
)

func TestANodeAloneLeadsAtOnce(t *testing.T) {
	began := time.Now()
	g := newGroup(t, 1, func(o *Options) { o.timers = &relaxed })
	n := g.nodes[0]
	require.Less(t, time.Since(began), relaxed.heartbeat, "it does not wait for a leader that cannot exist")
	lead, ok := n.Leader()
	require.True(t, ok)
	require.Equal(t, *n.lead.Load(), lead)
	require.Equal(t, n.id, lead.Node)
	require.Equal(t, "leader", n.Status().State)

	n.Stop()
	require.Zero(t, n.epoch.Load())
	g.again(n)
	g.eventually(func() bool { return g.leader() == n }, "it leads again")
	require.Greater(t, n.lead.Load().Term, lead.Term)
	require.EqualValues(t, 2, n.epoch.Load(), "a new term has a new epoch")
	n.Step()
	g.eventually(func() bool { return n.runs.Load() == 3 }, "a node alone takes the leadership again")
	require.EqualValues(t, 1, n.over.Load())
}

func TestAnotherNodeLeadsWhenTheLeaderIsGone(t *testing.T) {
	g := newGroup(t, 3)
	first := g.leader()
	g.eventually(func() bool {
		for _, n := range g.nodes {
			if lead, ok := n.Leader(); !ok || lead.Node != first.id {
				return false
			}
		}
		return true
	}, "all nodes know the leader")

	// Cut off: the leader finds out by itself, and its duty ends within a second of it.
	first.stream.partition(true)
	second := g.newLeader(first)
	require.Greater(t, second.lead.Load().Term, first.lead.Load().Term)
	g.eventually(func() bool { _, ok := first.Leader(); return !ok && first.epoch.Load() == 0 }, "the old leader stands down")
	first.stream.partition(false)
	g.eventually(func() bool { lead, ok := first.Leader(); return ok && lead.Node == second.id }, "it follows")

	// Stopped: it hands the leadership on.
	began := time.Now()
	second.Stop()
	third := g.newLeader(second)
	t.Logf("a leader that stops is followed after %s", time.Since(began))
	require.NotNil(t, third)
	g.again(second) // with another address
	g.eventually(func() bool { lead, ok := second.Leader(); return ok && lead.Node == g.leader().id }, "it is found at its new address")
	require.Len(t, second.Status().Servers, 3, "stopping is no removal")

	fourth := g.leader()
	fourth.Step()
	g.newLeader(fourth)
	for _, n := range g.nodes {
		require.LessOrEqual(t, n.over.Load(), int64(1), "duties never overlap")
	}
}

func TestAnotherTrueIsANewLeadership(t *testing.T) {
	r, n := alone(t)
	gen, err := r.build(t.Context())
	require.NoError(t, err)
	leads := make(chan bool)
	gen.leads = leads
	task := service.Go(context.Background(), func(ctx context.Context) { _, _ = r.serve(ctx, gen) })
	for i := range int64(4) {
		leads <- true
		require.Eventually(t, func() bool { return n.runs.Load() == i+1 && n.epoch.Load() != 0 }, patience, time.Millisecond)
	}
	require.Len(t, n.ended, 3, "each ended the one before it")
	leads <- false
	leads <- false
	require.Eventually(t, func() bool { return n.epoch.Load() == 0 }, patience, time.Millisecond)
	require.EqualValues(t, 1, n.over.Load())
	task.Stop()
	gen.close()
}

// alone returns a Raft of one node that was not started.
func alone(t *testing.T, change ...func(*Options)) (*Raft, *node) {
	t.Helper()
	s := listen(t)
	n := &node{id: nodeID(1), stream: s, ended: make(chan time.Time, 100), quit: make(chan error)}
	o := Options{
		Node: n.id, Address: s.Addr().String(), Cluster: clusterID, Dir: filepath.Join(t.TempDir(), "raft"), Stream: s, Fence: &fence{}, Duty: n.duty,
		Found: func(context.Context) (uint64, bool, error) { return 0, true, nil }, timers: &quick,
	}
	for _, c := range change {
		c(&o)
	}
	r, err := NewRaft(o)
	require.NoError(t, err)
	r.wire = newWire(s)
	t.Cleanup(r.wire.stop)
	return r, n
}

func TestALateDutyKeepsTheNextOneOff(t *testing.T) {
	release := make(chan struct{})
	var running, most, began atomic.Int64
	g := &group{t: t, fence: &fence{}}
	n := g.add(0, func(o *Options) {
		o.Duty = func(ctx context.Context, _ Lead, _ int64) error {
			if now := running.Add(1); now > most.Load() {
				most.Store(now)
			}
			defer running.Add(-1)
			if began.Add(1) == 1 {
				<-release // it does not listen to ctx
			}
			<-ctx.Done()
			return ctx.Err()
		}
	})
	g.eventually(func() bool { return began.Load() == 1 }, "the duty runs")
	n.Step()
	lead, ok := n.Leader()
	require.True(t, ok, "the election goes on")
	require.Equal(t, n.id, lead.Node)
	require.EqualValues(t, 1, began.Load())
	close(release)
	g.eventually(func() bool { return began.Load() == 2 }, "the next one begins when it has ended")
	require.EqualValues(t, 1, most.Load())
}

func TestADeposedNodeGivesTheLeadershipAway(t *testing.T) {
	g := newGroup(t, 3)
	first := g.leader()
	first.quit <- &picloud.Error{Code: picloud.CodeDeposed}
	second := g.newLeader(first)

	// The fence refuses: somebody else has a later term.
	g.fence.set(func() { g.fence.term += 100; g.fence.epoch++ })
	second.quit <- nil
	g.eventually(func() bool { return g.fence.asked.Load() > 6 }, "they try")
	require.Nil(t, g.leader())
	g.fence.set(func() { g.fence.term = 0 })
	g.newLeader(nil)
}

func TestALeaderWithoutTheDatabaseLooksForABetterOne(t *testing.T) {
	var better atomic.Pointer[string]
	none := ""
	better.Store(&none)
	g := newGroup(t, 3, func(o *Options) { o.Better = func() string { return *better.Load() } })
	first := g.leader()
	g.fence.set(func() { g.fence.down = true })
	first.quit <- nil
	var lead Lead
	g.eventually(func() bool { l, ok := first.Leader(); lead = l; return ok && first.epoch.Load() == 0 }, "somebody leads, without duties")
	at := g.other()
	for _, n := range g.nodes {
		if n.id == lead.Node {
			at = n
		}
	}
	to := g.other(at)
	better.Store(&to.id)
	g.eventually(func() bool { l, ok := at.Leader(); return ok && l.Node == to.id }, "the better one leads")
	g.fence.set(func() { g.fence.down = false })
	g.newLeader(nil)
}

func TestALeaderWithAHungDiskIsReplaced(t *testing.T) {
	g := newGroup(t, 3)
	first := g.leader()
	first.disk.block()
	began := time.Now()
	second := g.newLeader(first)
	t.Logf("another node leads after %s", time.Since(began))
	require.Less(t, time.Since(began), quick.store+quick.probe+8*quick.election+5*time.Second)
	g.eventually(func() bool { return first.Status().Rebuilt > 0 && first.epoch.Load() == 0 }, "the sick one is given up")
	require.ErrorContains(t, errors.New(first.Status().Trouble), "did not end within its time")
	first.disk.mend()
	g.eventually(func() bool { l, ok := first.Leader(); return ok && l.Node == second.id }, "it comes back by itself")
	require.Empty(t, first.Status().Bad, "nothing in its folder is damaged")
}

// At rest nothing is written, and heartbeats go on: only the probe sees the disk.
func TestAHungDiskIsSeenAtRest(t *testing.T) {
	g := newGroup(t, 1)
	n := g.nodes[0]
	// What the beginning writes is written meanwhile.
	require.Never(t, func() bool { return n.epoch.Load() == 0 }, 2*quick.tick, quick.tick/4, "it leads on at rest")
	n.disk.block()
	require.Eventually(t, func() bool { return n.Status().Rebuilt > 0 && n.epoch.Load() == 0 }, 8*time.Second, time.Millisecond)
	n.disk.mend()
	g.newLeader(nil)
}

func TestANewNodeWaitsForTheDatabase(t *testing.T) {
	var asked atomic.Int64
	g := newGroup(t, 1, func(o *Options) {
		o.Found = func(context.Context) (uint64, bool, error) {
			if asked.Add(1) < 4 {
				return 0, false, errDown
			}
			return 41, true, nil
		}
	})
	require.Greater(t, g.nodes[0].lead.Load().Term, uint64(41), "its terms go on behind those in the database")
	require.Empty(t, g.nodes[0].Status().Bad)
}

// Where a store fails, hashicorp/raft panics in a goroutine of its own. That would end the
// process, and with it this test.
func TestAFailingDiskEndsNoProcess(t *testing.T) {
	g := newGroup(t, 3)
	rebuilt := func(n *node, more func()) {
		t.Helper()
		before := n.Status().Rebuilt
		more()
		g.eventually(func() bool { return n.Status().Rebuilt > before }, "it is given up")
		n.disk.mend()
		g.eventually(func() bool { l, ok := n.Leader(); return ok && g.leader() != nil && l.Node == g.leader().id }, "it is built anew")
	}
	full := error(&os.PathError{Op: "write", Path: "wal", Err: syscall.ENOSPC})
	follower := g.other(g.leader())
	rebuilt(follower, func() { // it cannot write its term
		follower.disk.fail.Store(&full)
		g.leader().Step()
	})
	follower = g.other(g.leader())
	rebuilt(follower, func() { // it cannot read what was committed
		follower.disk.read.Store(&full)
		g.leader().quit <- nil
	})
	for _, n := range g.nodes { // all disks are full
		n.disk.fail.Store(&full)
	}
	l := g.leader()
	l.Step()
	g.eventually(func() bool { return g.leader() == nil && l.Status().Rebuilt+follower.Status().Rebuilt > 1 }, "nobody leads")
	for _, n := range g.nodes {
		n.disk.mend()
	}
	g.newLeader(nil)
	for _, n := range g.nodes {
		if s := n.Status(); s.Bad != "" { // see "What goes wrong" in DESIGN.md
			require.Contains(t, s.Trouble, "sealed segment has no index block", "a full disk is no damage")
		}
	}
}

func TestADamagedFolderIsPutAside(t *testing.T) {
	for name, aside := range map[string]bool{
		"wal-meta.db": true,
		"*.wal":       false, // raft-wal takes it for a log whose end was not written
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 3)
			n := g.other(g.leader())
			n.Stop()
			overwrite(t, filepath.Join(n.o.Dir, name))
			g.again(n)
			if aside {
				g.eventually(func() bool { return n.Status().Bad != "" }, "it is put aside")
				require.DirExists(t, n.Status().Bad)
			}
			g.eventually(func() bool { l, ok := n.Leader(); return ok && l.Node == g.leader().id && len(n.Status().Servers) == 3 }, "the leader brings it up to date")
			require.Empty(t, g.leader().Status().Bad)
		})
	}
}

func overwrite(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		size, err := os.Stat(f)
		require.NoError(t, err)
		junk := make([]byte, size.Size())
		for i := range junk {
			junk[i] = byte(i*7 + 13)
		}
		require.NoError(t, os.WriteFile(f, junk, 0o600))
	}
}

func TestARemovedNodeStopsVoting(t *testing.T) {
	g := newGroup(t, 3)
	gone := g.other(g.leader())
	g.forget(gone.id)
	g.eventually(func() bool { return g.members(1, 1) }, "of two managers one votes")
	g.eventually(func() bool { return len(gone.Status().Servers) == 0 || gone.Status().State != "leader" }, "it does not lead")
	// It comes back: the database lists it again.
	g.mu.Lock()
	g.list = append(g.list, Candidate{Node: gone.id, Address: gone.o.Address, Manager: true, Alive: true, Since: time.Now().Add(-time.Hour)})
	g.mu.Unlock()
	g.eventually(func() bool { return g.members(3, 0) }, "it votes again")
}

func TestRecoverMakesASurvivorTheOnlyVoter(t *testing.T) {
	g := newGroup(t, 3)
	left := g.other(g.leader())
	for _, n := range g.nodes {
		n.Stop()
	}
	require.NoError(t, Recover(left.o.Dir, left.id, left.o.Address, 500))
	g.list = nil
	left.o.Nodes = nil
	g.again(left)
	g.eventually(func() bool { return g.leader() == left }, "it leads alone")
	require.Greater(t, left.lead.Load().Term, uint64(500))
	require.Len(t, left.Status().Servers, 1)

	// Without anything in the folder it begins anew.
	dir := filepath.Join(t.TempDir(), "raft")
	require.Error(t, Recover(dir, left.id, "127.0.0.1:1", 7), "there is no folder")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, Recover(dir, left.id, "127.0.0.1:1", 7))
	require.NoError(t, Recover(dir, left.id, "127.0.0.1:1", 7))
	require.NoError(t, Wipe(dir))
	require.NoDirExists(t, dir)
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := NewRaft(Options{})
	require.ErrorContains(t, err, "is missing")
	_, err = NewLease(LeaseOptions{})
	require.ErrorContains(t, err, "is missing")
	require.NotNil(t, raftLog(slog.New(slog.DiscardHandler)))
}
