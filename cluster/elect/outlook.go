package elect

import (
	"slices"
	"time"
)

// silence is how long a node hears nothing of Raft's leader before it asks the database for
// the leadership. Together with leaseLength it is how long the leader has to be gone.
const silence = 5 * time.Second

// Group is what a node says of Raft's group, as it knows it.
type Group int

// A Group of Outside+n has n voters.
const (
	Untold  Group = iota // the node says nothing: it runs an earlier version
	Outside              // it is in no group
)

// GroupOf is what a node that knows these members of its group says of it.
func GroupOf(servers []Server) Group {
	return Outside + Group(len(votersOf(servers)))
}

func votersOf(servers []Server) (voters []string) {
	for _, s := range servers {
		if s.Voter {
			voters = append(voters, s.Node)
		}
	}
	return voters
}

// Peer is another node whose role lets it manage, as the gossip tells of it.
type Peer struct {
	Node  string
	Gone  bool  // the gossip has heard of its end: it left, or nobody reaches it
	Alive bool  // the gossip hears it; neither says that nothing was heard of it
	Epoch int64 // of the leadership that it says it has; 0: it has none
	Group Group // what it says of its group
}

// Outlook is what a node knows when it asks itself whether to take the manager's place
// without Raft. None of it is certain: the fence decides.
type Outlook struct {
	Self    string
	Epoch   int64    // of the leadership that the node has; 0: it has none
	Servers []Server // of Raft's group, as the node knows it; none: it is in no group
	Silence time.Duration
	Peers   []Peer // the members that the database lists, whose role lets them manage
}

func (o Outlook) peer(node string) (p Peer, member bool) {
	i := slices.IndexFunc(o.Peers, func(p Peer) bool { return p.Node == node })
	if i < 0 {
		return p, false
	}
	return o.Peers[i], true
}

// Contends reports whether the node asks the database for the leadership by a Lease. As long
// as Raft's group has one voter, nobody can outvote that one, so that the database decides
// when it is gone. From two voters on Raft alone decides.
func (o Outlook) Contends() bool {
	voters := votersOf(o.Servers)
	if len(voters) > 1 || slices.Contains(voters, o.Self) {
		return false
	}
	sole := ""
	if len(voters) == 1 {
		sole = voters[0]
	}
	for _, p := range o.Peers {
		// Somebody leads already, or a node that is in no group hears of one that elects.
		if p.Alive && p.Node != sole && (p.Epoch > 0 || sole == "" && p.Group != Outside && p.Group != Outside+1) {
			return false
		}
	}
	p, _ := o.peer(sole)
	if sole == "" {
		return o.Silence >= silence
	}
	return o.Silence >= silence || p.Gone
}

// Refounds reports whether a node that has the leadership by a Lease begins Raft's group
// anew, with itself as the only voter. It does when the only voter is no member any more, or
// lost what it knew; and when no node is in a group. Gone are the nodes that must not be
// members then, and known those that may: the database compares both with its own list, and
// knows better.
func (o Outlook) Refounds() (gone, known []string, yes bool) {
	voters := votersOf(o.Servers)
	if len(voters) > 1 || slices.Contains(voters, o.Self) {
		return nil, nil, false
	}
	known = []string{o.Self}
	outside := true // all of them
	for _, p := range o.Peers {
		known = append(known, p.Node)
		outside = outside && p.Alive && p.Group == Outside
	}
	if len(voters) == 0 {
		return nil, known, outside
	}
	p, member := o.peer(voters[0])
	if !member {
		return voters, known, true
	}
	return nil, known, p.Alive && p.Group == Outside
}

// Contested is LeaseOptions.Contested.
func (o Outlook) Contested(holder string) bool {
	voters := votersOf(o.Servers)
	if holder != o.Self {
		p, _ := o.peer(holder)
		return !p.Alive || slices.Contains(voters, holder) && o.Silence >= silence
	}
	return slices.ContainsFunc(o.Peers, func(p Peer) bool {
		return p.Epoch > o.Epoch || !p.Alive && len(voters) <= 1
	})
}
