package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/elect"
	"github.com/picloud/picloud/cluster/gossip"
)

const (
	// watchEvery is how often a node looks whether the manager is gone. It sends nothing for that.
	watchEvery = time.Second
	// remakeTime bounds the beginning of a new group of Raft.
	remakeTime = 20 * time.Second
	// remakeEvery is the pause before a group is begun again that did not begin.
	remakeEvery = 30 * time.Second
)

// watch takes the manager's place by a lease while Raft has one voter that is gone, and begins
// Raft's group anew when that one is lost for good. See elect.Outlook. Its fields belong to
// the goroutine of keep.
type watch struct {
	e       *election
	raft    *elect.Raft
	options elect.LeaseOptions
	next    time.Time // no group is begun before then
}

func (w *watch) keep(ctx context.Context) {
	defer w.end()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.e.news:
		case <-w.raft.Changed():
		}
		w.look(ctx)
	}
}

func (w *watch) look(ctx context.Context) {
	e, o := w.e, w.e.outlook(w.raft)
	if group := int64(elect.GroupOf(o.Servers)); e.group.Swap(group) != group {
		e.a.cluster.Say()
	}
	lease, contends := e.lease.Load(), o.Contends()
	switch {
	case lease == nil && contends && e.a.database.answers():
		if err := w.begin(); err != nil {
			e.a.log.Warn("this node cannot take the manager's place", slog.Any("error", err))
		}
	case lease != nil && !contends:
		w.end()
	case lease != nil:
		if lead, known := lease.Leader(); known && lead.Node == o.Self && o.Epoch != 0 {
			w.refound(ctx, o)
		}
	}
}

// begin asks for the manager's place.
func (w *watch) begin() error {
	lease, err := elect.NewLease(w.options)
	if err == nil {
		err = lease.Start()
	}
	if err == nil {
		w.e.a.log.Info("the manager is gone; this node asks the database for its place")
		w.e.lease.Store(lease)
	}
	return err
}

// end gives the place back.
func (w *watch) end() {
	if lease := w.e.lease.Swap(nil); lease != nil {
		lease.Stop()
	}
}

// refound begins Raft's group anew on this node, which has the leadership by a lease, when the
// database agrees that there is no other one to wait for.
func (w *watch) refound(ctx context.Context, o elect.Outlook) {
	gone, known, yes := o.Refounds()
	if !yes || time.Now().Before(w.next) {
		return
	}
	w.next = time.Now().Add(remakeEvery)
	ctx, cancel := context.WithTimeout(ctx, remakeTime)
	defer cancel()
	term, err := w.e.a.database.Leadership().Refound(ctx, o.Epoch, o.Self, gone, known)
	if err == nil {
		w.end() // its duties end before those of Raft's leader begin
		err = w.raft.Remake(ctx, term)
	}
	if err != nil {
		w.e.a.log.Warn("this node does not begin the elections anew yet", slog.Any("error", err))
	}
}

// outlook is what this node knows at this moment.
func (e *election) outlook(raft *elect.Raft) elect.Outlook {
	o := elect.Outlook{Self: e.a.identity.ID, Epoch: e.epoch.Load(), Servers: raft.Status().Servers, Silence: raft.Silence()}
	heard := map[string]gossip.Member{}
	for _, m := range e.a.cluster.Members() {
		heard[m.Node] = m
	}
	for _, m := range e.a.cluster.State().Members {
		if m.Role != picloud.RoleManager {
			continue
		}
		p := elect.Peer{Node: m.Node}
		if h, known := heard[m.Node]; known {
			p.Gone, p.Alive, p.Group = !h.Alive, h.Alive, elect.Group(h.Meta.Group)
			if h.Alive {
				p.Epoch = h.Meta.Epoch
			}
		}
		o.Peers = append(o.Peers, p)
	}
	return o
}

// contested is elect.LeaseOptions.Contested.
func (e *election) contested(holder string) bool {
	raft := e.taking()
	return raft != nil && e.outlook(raft).Contested(holder)
}

// taking returns this node's Raft; nil: it takes no part.
func (e *election) taking() *elect.Raft {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.raft
}

// heard wakes the watch: the gossip has something new.
func (e *election) heard() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

// challenged is called when the database says that a node contends for the leadership, or when
// this may have been missed.
func (e *election) challenged() {
	if e.epoch.Load() == 0 {
		return
	}
	if raft := e.taking(); raft != nil {
		raft.Challenge()
	}
	if lease := e.lease.Load(); lease != nil {
		lease.Challenge()
	}
}
