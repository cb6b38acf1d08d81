package agent

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

// fleet tells which nodes serve a catalog revision.
type fleet struct {
	self    func() picloud.Node
	nodes   NodeStore
	catalog *catalog
	wake    func()

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when some node reported
}

// reported is called when some node reported a new revision.
func (f *fleet) reported() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fleet) watch() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Await waits until nodes serve revision rev: mode "all" for every node that is
// alive, "quorum" for more than half of them, "none" for no other node. It
// always waits for this node. When ctx ends, or when only absent nodes
// are left, it answers what is known, with Complete false.
func (f *fleet) Await(ctx context.Context, rev int64, mode picloud.Wait) (picloud.Acks, error) {
	f.wake()
	acks := picloud.Acks{Rev: rev}
	for {
		served, changed := f.catalog.watch()
		if served >= rev {
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
		acks, settled := f.count(ctx, rev, mode)
		if settled {
			return acks, nil
		}
		select {
		case <-someone:
		case <-ctx.Done():
			return acks, nil
		}
	}
}

// count says who serves rev now. settled means that waiting changes nothing:
// those who do not serve it are absent.
func (f *fleet) count(ctx context.Context, rev int64, mode picloud.Wait) (acks picloud.Acks, settled bool) {
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
