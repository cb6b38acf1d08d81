package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// forgetAfter is how long a silent node counts as absent; afterwards it counts
// as gone. It reports itself again when it returns.
const forgetAfter = 24 * time.Hour

// Fleet tells which nodes acknowledged a catalog revision: they serve it and have
// it on disk.
type Fleet struct {
	self    func() picloud.Node
	nodes   Nodes
	replica *Replica
	wake    func()

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when some node reported
}

// NewFleet returns the fleet that a syncer's node is one of.
func NewFleet(s *Syncer) *Fleet {
	return &Fleet{self: s.self, nodes: s.nodes, replica: s.replica, wake: s.Wake, changed: make(chan struct{})}
}

// Reported is called when some node may have reported a new revision.
func (f *Fleet) Reported() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Fleet) watch() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Await waits until the nodes that mode asks for acknowledged revision rev. It
// always waits for this node. When ctx ends, or when only absent nodes are left,
// it answers what is known, with Complete false.
func (f *Fleet) Await(ctx context.Context, rev int64, mode picloud.Wait) (picloud.Acks, error) {
	f.wake()
	acks := picloud.Acks{Rev: rev}
	for {
		durable, changed := f.replica.watch()
		if durable >= rev {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			acks.Missing = []string{f.self().Name}
			return acks, nil
		}
	}
	for {
		someone := f.watch() // before the read, so that no report is missed
		acks, final := f.count(ctx, rev, mode)
		if final {
			return acks, nil
		}
		select {
		case <-someone:
		case <-ctx.Done():
			return acks, nil
		}
	}
}

// count says who acknowledged rev by now. final means that waiting changes nothing:
// the nodes that did not acknowledge it are absent.
func (f *Fleet) count(ctx context.Context, rev int64, mode picloud.Wait) (acks picloud.Acks, final bool) {
	self := f.self()
	acks = picloud.Acks{Rev: rev, Nodes: []string{self.Name}}
	if mode == picloud.WaitNone {
		acks.Complete = true
		return acks, true
	}
	nodes, err := f.nodes.List(ctx)
	if err != nil {
		// The change is committed and this node serves it: that is the answer,
		// whatever became of the database since.
		return acks, true
	}
	alive, now := 1, newest(nodes)
	for _, n := range nodes {
		switch {
		case n.ID == self.ID || now.Sub(n.SeenAt) > forgetAfter:
		case !n.Alive(now):
			acks.Missing = append(acks.Missing, n.Name)
		default:
			alive++
			if n.Rev >= rev {
				acks.Nodes = append(acks.Nodes, n.Name)
			} else {
				acks.Missing = append(acks.Missing, n.Name)
			}
		}
	}
	slices.Sort(acks.Nodes)
	everybody := len(acks.Nodes) == alive
	acks.Complete = len(acks.Missing) == 0 || mode == picloud.WaitQuorum && 2*len(acks.Nodes) > alive
	return acks, everybody || acks.Complete
}

// newest is when some node was last seen: the database's time, as good as now,
// for this node reports itself every minute. The board's own clock may be off
// by years.
func newest(nodes []picloud.Node) (at time.Time) {
	for _, n := range nodes {
		if n.SeenAt.After(at) {
			at = n.SeenAt
		}
	}
	return at
}
