package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/cluster/elect"
	"github.com/picloud/picloud/cluster/gossip"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/service"
)

const (
	// leaderLook is how often a call looks whether there is a manager by now.
	leaderLook = 20 * time.Millisecond
)

// election is this node's part in the choice of the manager. A node that is alone needs
// none: it is its own manager.
type election struct {
	a *Agent

	mu    sync.Mutex
	raft  *elect.Raft   // nil: the node takes no part
	watch *service.Task // see watch

	news  chan struct{}               // wakes watch; has room for one
	lease atomic.Pointer[elect.Lease] // nil: the node does not ask for the manager's place
	group atomic.Int64                // of type elect.Group: what the gossip is told

	epoch atomic.Int64 // of the leadership that this node has; 0: it is not the manager
}

func newElection(a *Agent) *election { return &election{a: a, news: make(chan struct{}, 1)} }

// begin takes part, if the node is a member that may manage. Further calls do nothing.
func (e *election) begin() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.a
	if e.raft != nil || state(a.state.Load()) == stateStopped || !a.cluster.Member() || a.cluster.Peer().Role != identity.Manager {
		return nil
	}
	if err := a.onlyVoter(); err != nil {
		a.log.Error("this node cannot elect alone yet; `picloud cluster recover` makes it so", slog.Any("error", err))
	}
	leadership := a.database.Leadership()
	place := a.cluster.State()
	listener, err := a.cluster.Listener(port.Raft)
	if err != nil {
		return err
	}
	raft, err := elect.NewRaft(elect.Options{
		Node: a.identity.ID, Address: a.identity.ID, Cluster: place.Cluster, Dir: filepath.Join(clusterDir(a.opts.DataDir), "raft"),
		Stream: stream{listener, a}, Fence: leadership, Duty: e.duty,
		AddressOf: func(node string) (string, bool) { return node, true }, // the cluster finds its address when it dials
		Found:     e.found, Nodes: e.candidates, Better: e.better, Cut: a.database.Trouble, Leases: leadership, Contested: e.contested, Logger: a.log,
	})
	if err != nil {
		return err
	}
	if err := raft.Start(); err != nil {
		return err
	}
	e.raft = raft
	w := &watch{e: e, raft: raft, options: elect.LeaseOptions{
		Node: a.identity.ID, Cluster: place.Cluster, Leases: leadership, Duty: e.duty, Contested: e.contested, Logger: a.log,
	}}
	e.watch = service.Go(context.Background(), w.keep)
	return nil
}

// end leaves the choice to the others. The node stays a member.
func (e *election) end() {
	e.mu.Lock()
	raft, watch := e.raft, e.watch
	e.raft, e.watch = nil, nil
	e.mu.Unlock()
	watch.Stop()
	if raft != nil {
		raft.Stop()
		e.group.Store(int64(elect.Untold))
	}
}

// duty is what the manager does as long as it is the manager.
func (e *election) duty(ctx context.Context, _ elect.Lead, epoch int64) error {
	for now := e.epoch.Load(); now < epoch && !e.epoch.CompareAndSwap(now, epoch); now = e.epoch.Load() { // a lease may end late
	}
	e.a.log.Info("this node is the manager of its cluster", slog.Int64("epoch", epoch))
	e.a.cluster.Say()
	e.a.membership.wake(true) // a change of the gossip's keys may be under way
	err := e.a.perform(ctx, epoch)
	e.epoch.CompareAndSwap(epoch, 0) // Raft may have given this node a newer one, while a lease ends
	e.a.log.Info("this node is no longer the manager of its cluster")
	e.a.cluster.Say()
	return err
}

// found reports whether this node begins the elections of its cluster: it is the founder,
// and there is no group yet that it could have lost its place in.
func (e *election) found(ctx context.Context) (floor uint64, yes bool, err error) {
	facts, err := e.a.database.Cluster().Facts(ctx)
	if err != nil || facts.Founder != e.a.identity.ID {
		return 0, false, err
	}
	held, err := e.a.database.Leadership().Show(ctx)
	if err != nil {
		return 0, false, err
	}
	if held.Term == 0 {
		return 0, true, nil
	}
	nodes, err := e.a.database.Nodes().List(ctx)
	if err != nil {
		return 0, false, err
	}
	managers := 0
	for _, n := range nodes {
		if n.Role == picloud.RoleManager {
			managers++
		}
	}
	return held.Term, managers == 1, nil
}

// candidates are the members, as the database last told of them, with what the gossip says.
// The database tells of every change at once, so the list costs no statement. While the
// database is away nobody knows whether the list is whole.
func (e *election) candidates(context.Context) ([]elect.Candidate, error) {
	d := e.a.database
	if !d.open.Load() || d.Trouble() {
		return nil, errDatabaseAway
	}
	heard := e.a.heardOf()
	self := e.a.identity.ID
	out := []elect.Candidate{{Node: self, Address: self, Manager: true, Alive: true, Since: e.a.started}}
	for _, n := range e.a.cluster.State().Members {
		m := heard[n.Node]
		out = append(out, elect.Candidate{Node: n.Node, Address: n.Node, Manager: n.Role == picloud.RoleManager, Alive: m.Alive, Since: m.Since})
	}
	return out, nil
}

// errDatabaseAway says that the list of the members may not be whole.
var errDatabaseAway = errors.New("the database does not answer")

// better names a node that may manage and says that it reaches the database.
func (e *election) better() string {
	for _, m := range e.a.cluster.Members() {
		if m.Alive && m.Node != e.a.identity.ID && m.Meta.Database && m.Meta.Role == string(identity.Manager) {
			return m.Node
		}
	}
	return ""
}

// stream carries Raft over the cluster port. Its addresses are the ids of nodes.
type stream struct {
	net.Listener
	a *Agent
}

// Dial connects to the Raft of a node.
func (s stream) Dial(node string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.a.cluster.Dial(ctx, node, port.Raft)
}

// manages reports whether this node is the manager of its cluster. A node that is alone
// is its own.
func (a *Agent) manages() bool { return !a.cluster.Member() || a.election.epoch.Load() > 0 }

// leader returns the node that manages the cluster, as far as this node knows. The gossip
// is only a hint: who is asked in vain passes the question on.
func (a *Agent) leader() (node string, known bool) {
	if a.manages() {
		return a.identity.ID, true
	}
	raft := a.election.taking()
	if raft != nil {
		if lead, ok := raft.Leader(); ok && lead.Node != a.identity.ID {
			return lead.Node, true
		}
	}
	epoch, any := int64(0), ""
	for _, m := range a.cluster.Members() {
		if !m.Alive || m.Node == a.identity.ID || m.Meta.Role != string(identity.Manager) {
			continue
		}
		if m.Meta.Epoch > epoch {
			epoch, node = m.Meta.Epoch, m.Node
		}
		any = m.Node
	}
	if node == "" && raft == nil {
		node = any // it takes no part in the choice; those who do know
	}
	return node, node != ""
}

// awaitLeader waits a moment for a manager: an election right after a start takes a second.
func (a *Agent) awaitLeader(ctx context.Context) (node string, known bool) {
	ctx, cancel := context.WithTimeout(ctx, broker.FirstWait)
	defer cancel()
	tick := time.NewTicker(leaderLook)
	defer tick.Stop()
	for {
		if node, known = a.leader(); known {
			return node, true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", false
		}
	}
}

// ClusterState returns the cluster as the manager sees it. A node that finds no manager tells
// what it knows itself.
func (a *Agent) ClusterState(ctx context.Context) (s picloud.ClusterState, err error) {
	if !a.manages() {
		s, _ = a.Seen()
		return s, nil
	}
	facts, err := a.database.Cluster().Facts(ctx)
	if err != nil {
		return s, err
	}
	nodes, err := a.database.Nodes().List(ctx)
	if err != nil {
		return s, err
	}
	s = picloud.ClusterState{
		ID: facts.ID, Name: facts.Name, Manager: a.opts.NodeName, Epoch: a.election.epoch.Load(), Nodes: len(nodes),
		Voters: []string{}, Standbys: []string{}, Revision: a.replica.Durable(), Dumps: a.keptDumps(ctx),
	}
	if a.database.server != nil {
		s.Database = a.opts.NodeName
	}
	names := map[string]string{}
	for _, n := range nodes {
		names[n.ID] = n.Name
		if n.Alive(picloud.LastSeen(nodes)) {
			s.Alive++
		}
		if n.ID == a.cluster.State().Database.Host {
			s.Database = n.Name
		}
	}
	a.election.seats(&s, names)
	return s, nil
}

// seats fills in who has which place in the elections, as far as this node knows. Names are
// those of nodes, by id.
func (e *election) seats(s *picloud.ClusterState, names map[string]string) {
	raft := e.taking()
	if raft == nil {
		return
	}
	for _, one := range raft.Status().Servers {
		name := cmp.Or(names[one.Node], one.Node)
		if one.Voter {
			s.Voters = append(s.Voters, name)
		} else {
			s.Standbys = append(s.Standbys, name)
		}
	}
	slices.Sort(s.Voters)
	slices.Sort(s.Standbys)
}

// Seen returns the cluster and its nodes as this node sees them, from the gossip and from its
// disk. It asks nobody.
func (a *Agent) Seen() (s picloud.ClusterState, nodes []picloud.Node) {
	a.mu.Lock()
	c := a.cluster
	a.mu.Unlock()
	if c == nil {
		return s, nil // it starts
	}
	state := c.State()
	s = picloud.ClusterState{
		ID: state.Cluster, Name: state.Name, Epoch: a.election.epoch.Load(), Nodes: 1 + len(state.Members), Alive: 1,
		Voters: []string{}, Standbys: []string{}, SeenBy: a.opts.NodeName, Revision: a.replica.Durable(), Dumps: a.ownDumps(),
	}
	self := a.self()
	self.Manager, self.Role = a.manages(), picloud.NodeRole(c.Peer().Role)
	names := map[string]string{self.ID: self.Name}
	nodes = append(nodes, self)
	heard := a.heardOf()
	for _, m := range state.Members {
		h, known := heard[m.Node]
		n := picloud.Node{ID: m.Node, Name: m.Name, Role: m.Role, Address: m.Address, Version: h.Meta.Version, Rev: h.Meta.Rev, Away: !h.Alive}
		switch {
		case h.Alive:
			s.Alive++
			n.SeenAt, n.Manager = time.Now(), h.Meta.Epoch > 0
		case known:
			n.SeenAt = h.Since
		}
		names[m.Node] = m.Name
		nodes = append(nodes, n)
	}
	s.Database = names[state.Database.Host]
	a.election.seats(&s, names)
	for i, n := range nodes {
		nodes[i].Seat = seatOf(s, n.Name)
		if n.Manager {
			s.Manager = n.Name
		}
	}
	if s.Manager == "" || !a.database.answers() {
		s.Trouble, s.Hint = a.absence()
	}
	return s, nodes
}

// seatOf is the place of a node in the elections.
func seatOf(s picloud.ClusterState, name string) picloud.Seat {
	switch {
	case slices.Contains(s.Voters, name):
		return picloud.SeatVoter
	case slices.Contains(s.Standbys, name):
		return picloud.SeatStandby
	}
	return ""
}

// heardOf is what the gossip says of the members, by id.
func (a *Agent) heardOf() map[string]gossip.Member {
	heard := map[string]gossip.Member{}
	for _, m := range a.cluster.Members() {
		heard[m.Node] = m
	}
	return heard
}
