package elect

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhoContendsAndWhoBeginsAnew(t *testing.T) {
	const quiet, loud = silence, time.Second
	one, two := Server{Node: "a", Voter: true}, Server{Node: "b", Voter: true}
	standby := Server{Node: "b"}
	dead := Peer{Node: "a", Gone: true}
	for name, c := range map[string]struct {
		o        Outlook
		contends bool
		refounds bool
	}{
		"the only voter is heard":                   {Outlook{"b", 0, []Server{one, standby}, loud, []Peer{{Node: "a", Alive: true, Epoch: 3}}}, false, false},
		"it is silent":                              {Outlook{"b", 0, []Server{one, standby}, quiet, []Peer{{Node: "a", Alive: true, Epoch: 3}}}, true, false},
		"it stopped a moment ago":                   {Outlook{"b", 0, []Server{one, standby}, loud, []Peer{dead}}, true, false},
		"this node is the only voter":               {Outlook{"a", 0, []Server{one, standby}, quiet, []Peer{{Node: "b", Gone: true}}}, false, false},
		"Raft decides from two voters on":           {Outlook{"c", 0, []Server{one, two, {Node: "c", Voter: true}}, quiet, []Peer{dead, {Node: "b", Gone: true}}}, false, false},
		"a standby of three voters":                 {Outlook{"d", 0, []Server{one, two, {Node: "c", Voter: true}, {Node: "d"}}, quiet, nil}, false, false},
		"another node has the lease":                {Outlook{"b", 0, []Server{one, standby}, quiet, []Peer{dead, {Node: "c", Alive: true, Epoch: 3, Group: Outside}}}, false, false},
		"the only voter was removed":                {Outlook{"b", 0, []Server{one, standby}, quiet, []Peer{{Node: "c", Alive: true, Group: Outside}}}, true, true},
		"the only voter lost its folder":            {Outlook{"b", 0, []Server{one, standby}, quiet, []Peer{{Node: "a", Alive: true, Group: Outside}}}, true, true},
		"it lost it, and nobody hears it":           {Outlook{"b", 0, []Server{one, standby}, quiet, []Peer{{Node: "a", Gone: true, Group: Outside}}}, true, false},
		"in no group, and hears a leader":           {Outlook{"c", 0, nil, quiet, []Peer{{Node: "a", Alive: true, Epoch: 3, Group: Outside + 1}}}, false, false},
		"in no group, beside a standby of one":      {Outlook{"c", 0, nil, quiet, []Peer{dead, {Node: "b", Alive: true, Group: Outside + 1}}}, true, false},
		"in no group, beside voters that elect":     {Outlook{"e", 0, nil, quiet, []Peer{dead, {Node: "b", Alive: true, Group: Outside + 3}}}, false, false},
		"in no group, beside an earlier version":    {Outlook{"c", 0, nil, quiet, []Peer{{Node: "b", Alive: true, Group: Untold}}}, false, false},
		"nobody is in a group":                      {Outlook{"b", 0, nil, quiet, []Peer{{Node: "c", Alive: true, Group: Outside}}}, true, true},
		"nobody who is heard is, and one is absent": {Outlook{"b", 0, nil, quiet, []Peer{{Node: "c", Alive: true, Group: Outside}, dead}}, true, false},
		"the last one that is left":                 {Outlook{"b", 0, nil, quiet, nil}, true, true},
	} {
		require.Equal(t, c.contends, c.o.Contends(), name)
		gone, known, yes := c.o.Refounds()
		require.Equal(t, c.refounds, yes, name)
		if yes {
			require.Contains(t, known, c.o.Self, name)
			require.Subset(t, []string{"a"}, gone, name)
		}
	}
	require.Equal(t, Outside, GroupOf(nil))

	o := Outlook{Self: "b", Epoch: 4, Servers: []Server{one, standby}, Peers: []Peer{{Node: "a", Alive: true, Epoch: 3}, {Node: "c", Alive: true}}}
	require.False(t, o.Contested("b"), "it hears everybody")
	require.False(t, o.Contested("a"))
	require.False(t, o.Contested("c"))
	require.True(t, o.Contested("d"), "no member")
	o.Silence = quiet
	require.True(t, o.Contested("a"), "Raft does not hear it")
	require.False(t, o.Contested("c"), "Raft hears only voters")
	o.Peers[1].Alive = false
	require.True(t, o.Contested("b"))
	require.True(t, o.Contested("c"))
	o.Servers = []Server{one, two, {Node: "c", Voter: true}}
	require.False(t, o.Contested("b"), "nobody contends by a lease")
	o.Peers[0].Epoch = 5
	require.True(t, o.Contested("b"), "somebody has a later leadership")
	require.Equal(t, Outside+1, GroupOf([]Server{one, standby}))
}

// A holder that is alive keeps the leadership whatever the others believe: the database tells
// it that one of them contends. At rest nobody asks the database.
func TestAHolderAnswersAChallenge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fence{}
		var blind, never atomic.Bool
		one, first := tenantOf(t, f, 1, &never)
		f.challenge = one.Challenge
		synctest.Wait()
		two, second := tenantOf(t, f, 2, &blind)
		<-time.After(time.Minute)
		blind.Store(true) // the other node does not hear it; it hears the other
		<-time.After(10 * time.Minute)
		require.EqualValues(t, 1, first.epoch.Load())
		require.Zero(t, second.runs.Load())
		blind.Store(false)
		<-time.After(time.Minute)
		asked := f.asked.Load()
		<-time.After(time.Hour)
		require.Equal(t, asked, f.asked.Load())

		// It is paused: it is told, and does not answer.
		f.set(func() { f.challenge = nil })
		blind.Store(true)
		began := time.Now()
		for second.epoch.Load() == 0 && time.Since(began) < time.Minute {
			<-time.After(100 * time.Millisecond)
		}
		require.EqualValues(t, 2, second.epoch.Load())
		require.LessOrEqual(t, time.Since(began), leaseLength+leaseLength/renewals+time.Second)
		one.Challenge() // it goes on, and hears what it has missed
		synctest.Wait()
		require.Zero(t, first.epoch.Load())
		one.Stop()
		two.Stop()
	})
}

// Raft's only voter answers too, and lets go at once when it stops.
func TestTheOnlyVoterAnswersAndReleases(t *testing.T) {
	g := &group{t: t, fence: &fence{}}
	n := g.add(0, func(o *Options) { o.Leases, o.Contested = g.fence, func(string) bool { return false } })
	g.fence.set(func() { g.fence.challenge = n.Challenge })
	g.eventually(func() bool { return g.leader() == n }, "it leads")
	require.Zero(t, n.Silence())
	require.Never(t, func() bool {
		_, _, _, err := g.fence.Lease(t.Context(), clusterID, nodeID(5), 0, quick.leaseLength)
		return err != nil || n.epoch.Load() != 1
	}, 3*quick.leaseLength, quick.leaseLength/5, "it answers")
	n.Stop()
	holder, epoch, _, err := g.fence.Lease(t.Context(), clusterID, nodeID(5), 0, quick.leaseLength)
	require.NoError(t, err)
	require.Equal(t, nodeID(5), holder, "the next one waits for nothing")
	require.EqualValues(t, 2, epoch)
}

// The only voter is lost for good. A standby begins the group anew, in the running process,
// and the others that are left are members of it.
func TestAStandbyBeginsTheGroupAnew(t *testing.T) {
	g := newGroup(t, 2)
	first := g.leader()
	left := g.other(first)
	first.Stop()
	g.forget(first.id)
	require.Eventually(t, func() bool { return left.Silence() > quick.heartbeat }, patience, time.Millisecond)
	require.NoError(t, left.Remake(t.Context(), 70))
	g.eventually(func() bool { return left.epoch.Load() != 0 && g.leader() == left }, "it leads")
	require.Greater(t, left.lead.Load().Term, uint64(70))
	require.True(t, left.knows(1, 0))
	g.add(2)
	g.add(3)
	g.eventually(func() bool { return g.members(3, 0) }, "three vote")
	for _, n := range g.nodes {
		require.LessOrEqual(t, n.over.Load(), int64(1), "duties never overlap")
	}
	left.Stop()
	require.ErrorIs(t, left.Remake(t.Context(), 80), errStopped)
}

// The majority is lost for good, and the node that is made the only voter knows less than
// another one that is left: that one is overwritten.
func TestTheMajorityIsLost(t *testing.T) {
	g := newGroup(t, 4)
	l := g.leader()
	var standby *node
	for _, s := range l.Status().Servers {
		if !s.Voter {
			standby = g.nodes[slices.IndexFunc(g.nodes, func(n *node) bool { return n.id == s.Node })]
		}
	}
	lost := g.other(l, standby)
	kept := g.other(l, standby, lost)
	lost.Stop()
	l.Stop()
	g.fence.set(func() { g.fence.term += 40 })
	require.NoError(t, standby.Remake(t.Context(), 90))
	g.eventually(func() bool { return g.leader() == standby }, "it leads")
	g.eventually(func() bool {
		lead, ok := kept.Leader()
		return ok && lead.Node == standby.id && slices.ContainsFunc(kept.Status().Servers, func(s Server) bool { return s.Node == kept.id })
	}, "the other one follows")
	// Those that were given up come back with what they knew, and are members like others.
	g.again(l)
	g.again(lost)
	g.eventually(func() bool { return g.members(3, 1) }, "all take part")
	g.eventually(func() bool {
		m := g.leader()
		for _, n := range g.nodes {
			if lead, ok := n.Leader(); m == nil || !ok || lead.Node != m.id {
				return false
			}
		}
		return true
	}, "all know one leader")
}

// model is a cluster whose nodes are paused, cut off and killed at random while Raft and
// leases propose managers. Each manager writes a numbered row as the fence allows.
type model struct {
	f      *fence
	ledger []int64 // the epochs of the rows
}

func (m *model) write(epoch int64) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	if m.f.epoch == epoch { // the check and the row are one statement
		m.ledger = append(m.ledger, epoch)
	}
}

// Whatever the proposers believe, the rows of one manager never stand behind those of a later
// one: an elected voter comes back, leases run out, a node begins a group of its own, all at
// any moment, and each goes on to write as if it managed.
func TestThereAreNeverTwoWriters(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 9))
		synctest.Test(t, func(t *testing.T) {
			m := &model{f: &fence{}}
			ctx := t.Context()
			type believer struct {
				id    string
				epoch int64
				term  uint64
			}
			nodes := []*believer{{id: "a"}, {id: "b"}, {id: "c"}}
			for range 400 {
				n := nodes[r.IntN(len(nodes))]
				switch r.IntN(9) {
				case 0, 1: // Raft elected it, in this group or in one that it began itself
					term := max(m.f.term, n.term) + uint64(r.IntN(2))
					if r.IntN(4) == 0 {
						term = n.term // an election of long ago: it was paused
					}
					if epoch, err := m.f.Acquire(ctx, clusterID, term, n.id); err == nil {
						n.epoch, n.term = epoch, term
					}
				case 2, 3:
					held := n.epoch
					if r.IntN(2) == 0 {
						held = 0
					}
					if holder, epoch, _, err := m.f.Lease(ctx, clusterID, n.id, held, leaseLength); err == nil && holder == n.id {
						n.epoch = epoch
					}
				case 4:
					if m.f.Renew(ctx, n.epoch, n.id, []time.Duration{0, leaseLength}[r.IntN(2)]) != nil && r.IntN(2) == 0 {
						n.epoch = 0 // it notices; or it is paused before it does
					}
				case 5:
					require.NoError(t, m.f.Release(ctx, n.epoch, n.id))
				case 6:
					<-time.After(time.Duration(r.IntN(12)) * time.Second)
				default:
					if n.epoch != 0 {
						m.write(n.epoch)
					}
				}
			}
			require.True(t, slices.IsSorted(m.ledger), fmt.Sprint("seed ", seed, ": ", m.ledger))
			require.NotEmpty(t, m.ledger)
		})
	}
}
