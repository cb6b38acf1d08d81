package elect

import (
	"cmp"
	"slices"
	"time"
)

const (
	// maxVoters is how many nodes vote in a cluster of any size: one of three may fail.
	maxVoters = 3
	// steady is how long a node has to be alive before it may vote.
	steady = time.Minute
	// lost is how long a voter has to be silent before a standby takes its place.
	lost = 10 * time.Minute
)

// Candidate is a node that the database lists, with what gossip says of it.
type Candidate struct {
	Node    string
	Address string // of its cluster port
	Manager bool   // its role lets it vote and manage
	Alive   bool
	Since   time.Time // since when it is alive, or is not
	Rank    int       // of two that are equally good, the higher one votes (disk, wire)
}

// Server is a member of Raft.
type Server struct {
	Node    string
	Address string
	Voter   bool
}

// Action is what Plan wants done with a server.
type Action string

// The actions.
const (
	AddVoter   Action = "add voter"   // of a standby; also changes the address of a voter
	AddStandby Action = "add standby" // also changes the address of a standby
	Demote     Action = "demote"      // a voter becomes a standby
	Remove     Action = "remove"
)

// Change is one step of the membership.
type Change struct {
	Action  Action
	Node    string
	Address string
}

// Targets returns how many voters and standbys a cluster with so many managers has. Two
// voters are worse than one, because the loss of either stops both: of two managers one
// votes.
func Targets(managers int) (voters, standbys int) {
	switch {
	case managers <= 0:
		return 0, 0
	case managers == 1:
		return 1, 0
	case managers == 2:
		return 1, 1
	case managers == maxVoters:
		return maxVoters, 0
	}
	return maxVoters, 1
}

// Plan returns the next change of the membership, and false when nothing is to be done.
// The leader self calls it; it never changes self's own place. It is given all nodes that
// the database lists. A server that is no manager, or is not listed, loses its place; the
// caller lists the servers that a person removed as no managers, with whether they answer.
//
// A server is added before another one is removed, and none is removed while the alive
// voters that remain are fewer than a majority of the present ones. A voter that is
// silent keeps its place until there is another one for it: the cluster never shrinks
// below three voters by itself.
func Plan(now time.Time, self string, servers []Server, nodes []Candidate) (Change, bool) {
	p := newPlan(now, self, servers, nodes)
	for _, rule := range []func() (Change, bool){p.moved, p.dropStranger, p.grow, p.replace, p.shrink, p.standBy, p.thin} {
		if c, ok := rule(); ok {
			return c, true
		}
	}
	return Change{}, false
}

// plan is one question to Plan.
type plan struct {
	now      time.Time
	self     string
	nodes    map[string]Candidate // the managers that the database lists
	up       map[string]bool      // the nodes that are alive, managers or not
	voters   []Server             // the best last: those that go first come first
	standbys []Server
	spare    []Candidate // healthy managers that do not vote; the best first, standbys before others
	want     int         // voters
	wantBy   int         // standbys
}

func newPlan(now time.Time, self string, servers []Server, nodes []Candidate) *plan {
	p := &plan{now: now, self: self, nodes: make(map[string]Candidate), up: map[string]bool{self: true}}
	for _, n := range nodes {
		p.up[n.Node] = p.up[n.Node] || n.Alive
		if n.Manager {
			p.nodes[n.Node] = n
		}
	}
	p.want, p.wantBy = Targets(len(p.nodes))
	member := make(map[string]bool)
	for _, s := range servers {
		member[s.Node] = true
		if s.Voter {
			p.voters = append(p.voters, s)
		} else {
			p.standbys = append(p.standbys, s)
		}
	}
	worst := func(a, b Server) int {
		x, y := p.nodes[a.Node], p.nodes[b.Node]
		return cmp.Or(order(p.up[a.Node], p.up[b.Node]), cmp.Compare(x.Rank, y.Rank), cmp.Compare(b.Node, a.Node))
	}
	slices.SortFunc(p.voters, worst)
	slices.SortFunc(p.standbys, worst)
	for _, n := range p.nodes {
		votes := slices.ContainsFunc(p.voters, func(s Server) bool { return s.Node == n.Node })
		if !votes && n.Node != self && n.Alive && now.Sub(n.Since) >= steady && n.Address != "" {
			p.spare = append(p.spare, n)
		}
	}
	slices.SortFunc(p.spare, func(a, b Candidate) int {
		return cmp.Or(order(member[b.Node], member[a.Node]), cmp.Compare(b.Rank, a.Rank), cmp.Compare(a.Node, b.Node))
	})
	return p
}

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// dead reports whether a server was silent for so long that it may be replaced.
func (p *plan) dead(node string) bool {
	n, listed := p.nodes[node]
	return node != p.self && listed && !n.Alive && p.now.Sub(n.Since) >= lost
}

// spared reports whether the voters manage without one of them: those that are alive are
// a majority of the present ones. Of two, the one that leads suffices.
func (p *plan) spared(node string) bool {
	left := 0
	for _, v := range p.voters {
		if v.Node != node && p.up[v.Node] {
			left++
		}
	}
	return left >= len(p.voters)/2+1 || len(p.voters) == 2 && left == 1
}

// moved follows a server to its new address.
func (p *plan) moved() (Change, bool) {
	for _, list := range [][]Server{p.voters, p.standbys} {
		for _, s := range list {
			n, listed := p.nodes[s.Node]
			if !listed || !p.up[s.Node] || n.Address == "" || n.Address == s.Address {
				continue
			}
			if s.Voter {
				return Change{AddVoter, s.Node, n.Address}, true
			}
			return Change{AddStandby, s.Node, n.Address}, true
		}
	}
	return Change{}, false
}

// dropStranger removes servers that the database does not list any more, or whose role does
// not let them vote. Such a voter goes when the others manage without it.
func (p *plan) dropStranger() (Change, bool) {
	for _, list := range [][]Server{p.standbys, p.voters} {
		for _, s := range list {
			if _, listed := p.nodes[s.Node]; !listed && s.Node != p.self && (!s.Voter || p.spared(s.Node)) {
				return Change{Action: Remove, Node: s.Node}, true
			}
		}
	}
	return Change{}, false
}

// grow adds a voter. From one voter it goes on only when there are two more, because two
// are worse than one. Both stand by first, so that they vote soon after each other.
func (p *plan) grow() (Change, bool) {
	missing := p.want - len(p.voters)
	if missing <= 0 || len(p.spare) == 0 || len(p.voters)%2 == 1 && len(p.spare) < 2 {
		return Change{}, false
	}
	for _, n := range p.spare[:min(missing, len(p.spare))] {
		if !p.standsBy(n.Node) {
			return p.promote(n), true
		}
	}
	return p.promote(p.spare[0]), true
}

// promote brings a node one step nearer to a vote: a standby may vote, and any other node
// stands by first, until it has what the leader's log holds.
func (p *plan) promote(n Candidate) Change {
	if p.standsBy(n.Node) {
		return Change{AddVoter, n.Node, n.Address}
	}
	return Change{AddStandby, n.Node, n.Address}
}

func (p *plan) standsBy(node string) bool {
	return slices.ContainsFunc(p.standbys, func(s Server) bool { return s.Node == node })
}

// replace adds a voter for one that is dead, which shrink then removes.
func (p *plan) replace() (Change, bool) {
	if len(p.spare) == 0 || len(p.voters) != p.want {
		return Change{}, false
	}
	for _, v := range p.voters {
		if p.dead(v.Node) {
			return p.promote(p.spare[0]), true
		}
	}
	return Change{}, false
}

// shrink takes a vote away while there are more voters than wanted, or two.
func (p *plan) shrink() (Change, bool) {
	if len(p.voters) <= p.want && len(p.voters) != 2 {
		return Change{}, false
	}
	for _, v := range p.voters { // the dead ones come first
		switch {
		case v.Node == p.self || !p.spared(v.Node):
		case p.dead(v.Node):
			return Change{Action: Remove, Node: v.Node}, true
		case p.up[v.Node]:
			return Change{Action: Demote, Node: v.Node}, true
		}
	}
	return Change{}, false
}

// standBy adds a standby. A voter that is alone has one, also while others are away that would
// vote: it is the one that takes its place.
func (p *plan) standBy() (Change, bool) {
	want, healthy := p.wantBy, 0
	if len(p.voters) == 1 && p.want > 1 {
		want = max(want, 1)
	}
	for _, s := range p.standbys {
		if !p.dead(s.Node) {
			healthy++
		}
	}
	if healthy >= want {
		return Change{}, false
	}
	for _, n := range p.spare {
		if !p.standsBy(n.Node) {
			return Change{AddStandby, n.Node, n.Address}, true
		}
	}
	return Change{}, false
}

// thin removes a standby while there are more than wanted, and none of them is to vote.
func (p *plan) thin() (Change, bool) {
	if len(p.standbys) > p.wantBy && len(p.voters) >= p.want {
		return Change{Action: Remove, Node: p.standbys[0].Node}, true
	}
	return Change{}, false
}
