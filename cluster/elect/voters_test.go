package elect

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTargets(t *testing.T) {
	for managers, want := range [][2]int{{0, 0}, {1, 0}, {1, 1}, {3, 0}, {3, 1}, {3, 1}, {3, 1}} {
		voters, standbys := Targets(managers)
		require.Equal(t, want, [2]int{voters, standbys}, "%d managers", managers)
	}
}

// world is a group whose changes take effect at once.
type world struct {
	now     time.Time
	self    string
	servers []Server
	nodes   []Candidate
}

func (w *world) apply(c Change) {
	i := slices.IndexFunc(w.servers, func(s Server) bool { return s.Node == c.Node })
	switch c.Action {
	case AddVoter, AddStandby:
		if i >= 0 {
			w.servers[i].Address = c.Address
			w.servers[i].Voter = w.servers[i].Voter || c.Action == AddVoter
			return
		}
		w.servers = append(w.servers, Server{c.Node, c.Address, c.Action == AddVoter})
	case Demote:
		w.servers[i].Voter = false
	case Remove:
		w.servers = slices.Delete(w.servers, i, i+1)
	}
}

func (w *world) node(id string) (Candidate, bool) {
	i := slices.IndexFunc(w.nodes, func(n Candidate) bool { return n.Node == id })
	if i < 0 {
		return Candidate{}, false
	}
	return w.nodes[i], true
}

func (w *world) voters() (all, alive int) {
	for _, s := range w.servers {
		if !s.Voter {
			continue
		}
		all++
		if n, _ := w.node(s.Node); n.Alive || s.Node == w.self {
			alive++
		}
	}
	return all, alive
}

// settle applies what Plan wants until it wants nothing, and checks each step.
func (w *world) settle(t require.TestingT) (steps []Change) {
	for range 50 {
		all, alive := w.voters()
		c, ok := Plan(w.now, w.self, w.servers, w.nodes)
		if !ok {
			return steps
		}
		steps = append(steps, c)
		n, listed := w.node(c.Node)
		i := slices.IndexFunc(w.servers, func(s Server) bool { return s.Node == c.Node })
		votes := i >= 0 && w.servers[i].Voter
		switch c.Action {
		case AddVoter, AddStandby:
			require.True(t, listed && n.Manager && n.Alive, "only managers that are alive are added: %v", c)
			require.Equal(t, n.Address, c.Address)
			if c.Action == AddVoter && !votes {
				require.GreaterOrEqual(t, i, 0, "a standby has the log before it votes: %v", c)
				require.LessOrEqual(t, all, maxVoters)
			}
		case Demote, Remove:
			require.NotEqual(t, w.self, c.Node, "the leader stays")
		}
		w.apply(c)
		after, left := w.voters()
		require.LessOrEqual(t, after, maxVoters+1, "one more at most, before another goes")
		if alive >= all/2+1 {
			require.GreaterOrEqual(t, left, after/2+1, "what had a majority keeps it: %v", c)
		}
		managers := 0
		for _, n := range w.nodes {
			if n.Manager {
				managers++
			}
		}
		wanted, _ := Targets(managers)
		if votes && after < all && listed && n.Manager && !n.Alive && all <= wanted {
			t.Errorf("a voter that is only silent was removed before there is another one: %v", c)
			t.FailNow()
		}
	}
	t.Errorf("it never settles: %v", steps)
	t.FailNow()
	return nil
}

func TestPlanKeepsTheMajority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
		w := &world{now: now, self: "n0", servers: []Server{{"n0", "a0", true}}}
		count := rapid.IntRange(1, 9).Draw(t, "nodes")
		draw := func(i int) Candidate {
			since := []time.Duration{0, 30 * time.Second, 2 * time.Minute, time.Hour}
			return Candidate{
				Node: fmt.Sprintf("n%d", i), Address: fmt.Sprintf("a%d", rapid.IntRange(0, 1).Draw(t, "address")*10+i), Manager: i == 0 || rapid.IntRange(0, 5).Draw(t, "role") > 0,
				Alive: i == 0 || rapid.IntRange(0, 3).Draw(t, "alive") > 0, Since: now.Add(-rapid.SampledFrom(since).Draw(t, "since")), Rank: rapid.IntRange(0, 2).Draw(t, "rank"),
			}
		}
		for round := range rapid.IntRange(1, 6).Draw(t, "rounds") {
			w.nodes = nil
			for i := range count {
				n := draw(i)
				if i > 0 && rapid.IntRange(0, 7).Draw(t, "listed") == 0 {
					if !slices.ContainsFunc(w.servers, func(s Server) bool { return s.Node == n.Node }) {
						continue
					}
					n.Manager = false // a person removed it
				}
				w.nodes = append(w.nodes, n)
			}
			if all, alive := w.voters(); alive < all/2+1 {
				return // without a majority nobody leads, and nobody plans
			}
			w.settle(t)
			managers := 0
			all, alive := w.voters()
			healthy := all == alive
			for _, n := range w.nodes {
				if n.Manager {
					managers++
					healthy = healthy && n.Alive && (now.Sub(n.Since) >= steady || n.Node == w.self)
				}
			}
			if healthy {
				voters, standbys := Targets(managers)
				all, _ := w.voters()
				require.Equal(t, voters, all, "round %d: %v", round, w.servers)
				require.Equal(t, standbys, len(w.servers)-all, "round %d: %v", round, w.servers)
			}
		}
	})
}

func TestPlanGrowsAndShrinks(t *testing.T) {
	w := &world{now: time.Now(), self: "a", servers: []Server{{"a", "a:1", true}}}
	list := func(ids ...string) {
		w.nodes = nil
		for _, id := range ids {
			w.nodes = append(w.nodes, Candidate{Node: id, Address: id + ":1", Manager: true, Alive: true, Since: w.now.Add(-time.Hour)})
		}
	}
	died := func(id string, since time.Duration) {
		for i := range w.nodes {
			if w.nodes[i].Node == id {
				w.nodes[i].Alive, w.nodes[i].Since = false, w.now.Add(-since)
			}
		}
	}
	settle := func(want ...Change) {
		t.Helper()
		require.Equal(t, want, w.settle(t))
	}
	list("a")
	settle()
	list("a", "b")
	settle(Change{AddStandby, "b", "b:1"}) // two voters are worse than one
	list("a", "b", "c")
	settle(Change{AddStandby, "c", "c:1"}, Change{AddVoter, "b", "b:1"}, Change{AddVoter, "c", "c:1"})
	w.servers = []Server{{"a", "a:1", true}} // the group began anew from one
	died("c", time.Hour)
	settle(Change{AddStandby, "b", "b:1"}) // somebody has to take its place
	list("a", "b", "c")
	settle(Change{AddStandby, "c", "c:1"}, Change{AddVoter, "b", "b:1"}, Change{AddVoter, "c", "c:1"})
	list("a", "b", "c", "d", "e")
	settle(Change{AddStandby, "d", "d:1"})
	died("b", 9*time.Minute)
	settle() // it may come back
	died("b", 11*time.Minute)
	settle(Change{AddVoter, "d", "d:1"}, Change{Action: Remove, Node: "b"}, Change{AddStandby, "e", "e:1"})
	died("c", 11*time.Minute)
	died("e", 11*time.Minute)
	settle() // nobody is there to take its place
	list("a", "c", "d")
	settle(Change{Action: Remove, Node: "e"})
	list("a", "c")
	settle(Change{Action: Remove, Node: "d"}, Change{Action: Demote, Node: "c"})
	list("a")
	settle(Change{Action: Remove, Node: "c"})
	w.nodes[0].Address = "a:2"
	settle(Change{AddVoter, "a", "a:2"})
}
