package replica

import (
	"context"
	"errors"
	"maps"
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
	// suspects are the nodes that let a change wait until its time was over, by id, with
	// the time at which each was last seen then. Nobody waits for a suspect before it is
	// heard from again (failure detector).
	suspects map[string]time.Time
}

// NewFleet returns the fleet that a syncer's node is one of.
func NewFleet(s *Syncer) *Fleet {
	return &Fleet{self: s.self, nodes: s.nodes, replica: s.replica, wake: s.Wake, changed: make(chan struct{}), suspects: map[string]time.Time{}}
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
// always waits for this node. When ctx ends, or when only absent nodes and suspects are
// left, it answers what is known, with Complete false.
func (f *Fleet) Await(ctx context.Context, rev int64, mode picloud.Wait) (picloud.Acks, error) {
	f.wake()
	began, times := time.Now(), map[string]picloud.Duration{}
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
	times[f.self().Name] = picloud.Duration(time.Since(began))
	for {
		someone := f.watch() // before the read, so that no report is missed
		acks, late := f.count(ctx, rev, mode)
		for _, name := range acks.Nodes {
			if _, known := times[name]; !known {
				times[name] = picloud.Duration(time.Since(began))
			}
		}
		if len(acks.Nodes) > 1 { // of one node the time of the deploy says it
			acks.Times = times
		}
		if len(late) == 0 || acks.Complete {
			return acks, nil
		}
		select {
		case <-someone:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				f.suspect(late)
			}
			return acks, nil
		}
	}
}

// suspect takes note of the nodes that were too late.
func (f *Fleet) suspect(late []picloud.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range late {
		f.suspects[n.ID] = n.SeenAt
	}
}

// suspected reports whether a node is a suspect that was not heard from since. It also
// forgets the suspects that were heard from.
func (f *Fleet) suspected(n picloud.Node) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, found := f.suspects[n.ID]
	if found && n.SeenAt.After(seen) {
		delete(f.suspects, n.ID)
		return false
	}
	return found
}

// retain forgets the suspects that are no nodes any more.
func (f *Fleet) retain(nodes []picloud.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.suspects, func(id string, _ time.Time) bool {
		return !slices.ContainsFunc(nodes, func(n picloud.Node) bool { return n.ID == id })
	})
}

// count says who acknowledged rev by now, and for whom it makes sense to wait.
func (f *Fleet) count(ctx context.Context, rev int64, mode picloud.Wait) (acks picloud.Acks, late []picloud.Node) {
	self := f.self()
	acks = picloud.Acks{Rev: rev, Nodes: []string{self.Name}}
	if mode == picloud.WaitNone {
		acks.Complete = true
		return acks, nil
	}
	nodes, err := f.nodes.List(ctx)
	if err != nil {
		// The change is committed and this node serves it: that is the answer,
		// whatever became of the database since.
		return acks, nil
	}
	f.retain(nodes)
	alive, now := 1, picloud.LastSeen(nodes)
	for _, n := range nodes {
		switch {
		case n.ID == self.ID || now.Sub(n.SeenAt) > forgetAfter:
		case !n.Alive(now):
			acks.Missing = append(acks.Missing, n.Name)
		default:
			alive++
			if n.Rev >= rev {
				acks.Nodes = append(acks.Nodes, n.Name)
				continue
			}
			acks.Missing = append(acks.Missing, n.Name)
			if !f.suspected(n) {
				late = append(late, n)
			}
		}
	}
	slices.Sort(acks.Nodes)
	acks.Complete = len(acks.Missing) == 0 || mode == picloud.WaitQuorum && 2*len(acks.Nodes) > alive
	return acks, late
}
