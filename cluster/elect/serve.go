package elect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/internal/service"
)

var (
	// errSick says that the Raft leads and cannot do what a leader does.
	errSick = errors.New("the election has a leader on this node that cannot write")
	// errRemoved says that the leader removed this node from the voters and standbys.
	errRemoved = errors.New("the leader removed this node from the elections")
	// errRemade says that the group is to begin anew.
	errRemade = errors.New("the group of the election begins anew on this node")
	// errAbdicate says that the leader gives its place away.
	errAbdicate = errors.New("the node gives the leadership away")
	// errBetter says why: another voter can do what the leader cannot.
	errBetter = fmt.Errorf("%w: another voter reaches the database", errAbdicate)
)

// reign is one leadership of this node, from the message of Raft to its end.
type reign struct {
	task  *service.Task
	since time.Time
	// Read these after the task is done.
	err   error  // why it ended
	to    string // the node that should follow; empty: any
	epoch int64  // 0: it never got one
}

// server runs one generation. All its fields belong to the goroutine of serve, which is
// the only reader of Raft's messages about it.
type server struct {
	r *Raft
	g *generation

	reign   *reign           // nil: the node does not lead, or rests
	late    <-chan struct{}  // closed when the duty of an earlier reign has ended; nil: it has
	again   <-chan time.Time // when a node that gave the leadership away, and kept it, leads again
	handing *service.Task    // a handover under way
	waiting []chan struct{}  // callers of Step
	pauses  *backoff.Backoff
	out     int // looks in a row that found the node removed
}

// serve runs a Raft until ctx ends, or until it has to be built anew; the error says why. With
// a remake, the group begins anew before that.
func (r *Raft) serve(ctx context.Context, g *generation) (again remake, err error) {
	s := &server{r: r, g: g, pauses: backoff.New(r.t.rebuild, r.t.rebuildMax/8)}
	defer s.end()
	tick := time.NewTicker(r.t.tick)
	defer tick.Stop()
	for {
		var over, handed <-chan struct{}
		if s.reign != nil {
			over = s.reign.task.Done()
		}
		if s.handing != nil {
			handed = s.handing.Done()
		}
		select {
		case <-ctx.Done():
			return again, ctx.Err()
		case <-g.store.broken:
			return again, g.store.trouble()
		case leads := <-g.leads:
			// The channel holds the latest value only: a second true stands for a new
			// leadership, with a loss between them that nobody saw.
			s.stop()
			s.again = nil
			if leads {
				s.lead()
			}
			signal(r.changed)
		case <-g.seen:
			signal(r.changed)
		case <-over:
			if err := s.ended(); err != nil {
				return again, err
			}
		case <-handed:
			s.handed()
		case <-s.again:
			s.again = nil
			if g.raft.State() == raft.Leader {
				s.lead()
			}
		case done := <-r.steps:
			s.step(done)
		case again = <-r.remakes:
			return again, errRemade
		case <-tick.C:
			if s.removed() {
				return again, errRemoved
			}
		}
	}
}

// lead begins a reign. While a duty of an earlier reign runs on, the node has none, and
// gives the leadership away.
func (s *server) lead() {
	if s.late != nil {
		select {
		case <-s.late:
			s.late = nil
		default:
			s.handOn("")
			return
		}
	}
	reign := &reign{since: time.Now()}
	reign.task = service.Go(context.Background(), func(ctx context.Context) { reign.err = s.r.rule(ctx, s.g, reign) })
	s.reign = reign
}

// stop ends the reign: its context ends at once, and the duty has a second to return. One
// that does not is named in the log.
func (s *server) stop() {
	if s.reign == nil {
		return
	}
	reign := s.reign
	s.reign = nil
	go reign.task.Stop()
	if !done(reign.task.Done(), dutyGrace) {
		s.r.log.Error("the manager's duties run on after the leadership ended")
		s.late = reign.task.Done()
	}
}

// done waits for a channel to be closed, at most for a while.
func done(c <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

// ended looks at why a reign ended by itself.
func (s *server) ended() error {
	err, to := s.reign.err, s.reign.to
	s.reign.task.Stop()
	if time.Since(s.reign.since) > s.r.t.rebuildMax {
		s.pauses.Reset()
	}
	s.reign = nil
	if errors.Is(err, errSick) {
		return err
	}
	s.r.log.Info("this node gives the leadership away", slog.Any("cause", err))
	s.handOn(to)
	return nil
}

// step gives the leadership away because somebody asked for it.
func (s *server) step(done chan struct{}) {
	s.waiting = append(s.waiting, done)
	s.stop()
	s.handOn("")
}

// handOn lets Raft transfer the leadership, to a voter of its choice unless one is named. It
// takes time, in which the node has to listen to Raft.
func (s *server) handOn(to string) {
	if s.handing != nil {
		return
	}
	s.again = nil
	g, limit := s.g, s.r.t.apply
	s.handing = service.Go(context.Background(), func(context.Context) {
		if g.raft.State() != raft.Leader {
			return
		}
		future := func() raft.Future { return g.raft.LeadershipTransfer() }
		for _, m := range g.members() {
			if m.Node == to && m.Voter {
				future = func() raft.Future {
					return g.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(m.Address))
				}
			}
		}
		_ = await(context.Background(), limit, future) // whoever still leads afterwards rests
	})
}

// handed goes on after a handover. A node that is still the leader begins again after a pause, so
// that a fence that refuses it is not asked all the time.
func (s *server) handed() {
	s.handing.Stop()
	s.handing = nil
	for _, done := range s.waiting {
		close(done)
	}
	s.waiting = nil
	if s.g.raft.State() == raft.Leader && s.reign == nil {
		s.again = time.After(s.pauses.NextBackOff())
	}
}

// end stops what the server started, and hands the leadership on when the node stops: to
// another voter, or to whoever asks the database for it.
func (s *server) end() {
	reign := s.reign
	s.stop()
	if reign != nil && s.late == nil && reign.epoch != 0 && !s.others() {
		s.release(reign.epoch)
	}
	if s.g.store.trouble() == nil && s.g.raft.State() == raft.Leader && s.handing == nil && s.others() {
		s.handOn("")
	}
	if s.handing != nil {
		s.handed()
	}
	if s.late != nil && !done(s.late, 5*dutyGrace) {
		s.r.log.Error("the manager's duties do not end")
	}
}

// release lets another node take the leadership at once.
func (s *server) release(epoch int64) {
	if s.r.o.Leases == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.r.t.leaseLength/renewals)
	defer cancel()
	if err := s.r.o.Leases.Release(ctx, epoch, s.r.o.Node); err != nil && !deposed(err) {
		s.r.log.Info("the leadership was not released; another node takes it when it has run out", slog.Any("err", err))
	}
}

// others reports whether another node votes.
func (s *server) others() bool {
	for _, m := range s.g.members() {
		if m.Voter && m.Node != s.r.o.Node {
			return true
		}
	}
	return false
}

// removed reports whether the leader removed this node: it is not in the configuration, and
// heard nothing of a leader for a while. A node that is being added may see earlier
// configurations, but then hears from the leader.
func (s *server) removed() bool {
	servers := s.g.members()
	out := len(servers) > 0
	for _, m := range servers {
		out = out && m.Node != s.r.o.Node
	}
	if !out || time.Since(s.g.raft.LastContact()) < 3*s.r.t.heartbeat {
		s.out = 0
		return false
	}
	s.out++
	return s.out >= 2
}

// rule is a reign: it proves that the node leads, takes the epoch, and performs the duty. It
// also looks after the members and the disk. Its error says why it ended by itself.
func (r *Raft) rule(ctx context.Context, g *generation, reign *reign) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lead, err := r.prove(ctx, g)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.tend(ctx, g) })
	epoch, err := r.acquire(ctx, lead, reign)
	if err != nil {
		cancel(err)
		return err
	}
	reign.epoch = epoch
	r.log.Info("this node manages the cluster", append(lead.describe(), slog.Int64("epoch", epoch))...)
	wg.Go(func() {
		if err := r.defend(ctx, epoch); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		if reign.to = r.cutOff(ctx); reign.to != "" {
			cancel(errBetter)
		}
	})
	err = r.o.Duty(ctx, lead, epoch)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cancel(err)
	return cmp.Or(err, errAbdicate)
}

// prove commits an entry: a node whose entry is committed leads in that term. It is also the
// test of the leader. An interrupted handover can leave a leader that refuses each entry
// for ever (hashicorp/raft#696); such a one is sick.
func (r *Raft) prove(ctx context.Context, g *generation) (Lead, error) {
	text, err := json.Marshal(entry{r.o.Node})
	if err != nil {
		return Lead{}, err
	}
	limit := time.Now().Add(r.t.sick)
	for {
		if err = await(ctx, r.t.apply, func() raft.Future { return g.raft.Barrier(r.t.apply) }); err == nil {
			var future raft.ApplyFuture
			err = await(ctx, r.t.apply, func() raft.Future { future = g.raft.Apply(text, r.t.apply); return future })
			if err == nil {
				lead, ok := future.Response().(Lead)
				if !ok {
					return Lead{}, fmt.Errorf("%w: %v", errSick, future.Response())
				}
				return lead, nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return Lead{}, ctx.Err()
		case time.Now().After(limit):
			return Lead{}, fmt.Errorf("%w: %w", errSick, err)
		case !pause(ctx, r.t.sick/20):
			return Lead{}, ctx.Err()
		}
	}
}

// acquire takes the epoch. It asks until the fence answers; meanwhile the node is the leader
// whom others know, without the duties.
func (r *Raft) acquire(ctx context.Context, lead Lead, reign *reign) (int64, error) {
	wait := backoff.New(backoff.First, backoff.Last)
	since, told := time.Now(), false
	for {
		own, cancel := context.WithTimeout(ctx, min(fenceTime, r.t.apply))
		epoch, err := r.o.Fence.Acquire(own, r.o.Cluster, lead.Term, lead.Node)
		cancel()
		switch {
		case err == nil || deposed(err) || ctx.Err() != nil:
			return epoch, err
		case !told:
			told = true
			r.log.Warn("this node leads, but the database does not answer", append(lead.describe(), slog.Any("err", err))...)
		}
		if better := r.better(since); better != "" {
			reign.to = better
			return 0, errBetter
		}
		if !pause(ctx, min(wait.NextBackOff(), r.t.fence/2)) {
			return 0, ctx.Err()
		}
	}
}

// cutOff waits until the manager has not reached the database for a while, and another voter
// does: it names that one. "" means that ctx has ended.
func (r *Raft) cutOff(ctx context.Context) (better string) {
	if r.o.Cut == nil {
		return ""
	}
	tick := time.NewTicker(r.t.tick)
	defer tick.Stop()
	var since time.Time
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-tick.C:
		}
		switch cut := r.o.Cut(); {
		case !cut:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		default:
			if better = r.better(since); better != "" {
				return better
			}
		}
	}
}

// better names a voter that reaches the database, when this node did not for a while.
func (r *Raft) better(since time.Time) string {
	now := time.Now()
	if r.o.Better == nil || now.Sub(since) < r.t.fence || now.Before(r.quiet) {
		return ""
	}
	to := r.o.Better()
	if to == r.o.Node {
		return ""
	}
	if to != "" {
		r.quiet = now.Add(r.t.rest)
	}
	return to
}

// tend looks after the members and the disk while the node leads.
func (r *Raft) tend(ctx context.Context, g *generation) {
	members, probe := time.NewTicker(r.t.tick), time.NewTicker(r.t.probe)
	defer members.Stop()
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-probe.C:
			_ = g.store.probe() // a failure breaks the store, which serve hears of
		case <-members.C:
			if c, err := r.reconcile(ctx, g); err != nil && ctx.Err() == nil {
				what := []any{slog.Any("err", err)}
				if c.Node != "" { // else it was not decided yet
					what = append(what, slog.Any("change", c.Action), slog.String("node", c.Node))
				}
				r.log.Warn("change the members of the election", what...)
			}
		}
	}
}

// reconcile changes the members until they are as Plan wants them, one at a time. A node
// that became a standby in this look may vote in the next one.
func (r *Raft) reconcile(ctx context.Context, g *generation) (c Change, err error) {
	if r.o.Nodes == nil {
		return c, nil
	}
	own, cancel := context.WithTimeout(ctx, r.t.apply)
	nodes, err := r.o.Nodes(own)
	cancel()
	if err != nil {
		return c, err
	}
	nodes = slices.Clone(nodes)
	for _, m := range g.members() {
		if !slices.ContainsFunc(nodes, func(n Candidate) bool { return n.Node == m.Node }) { // a person removed it
			_, err := r.ask(g, m.Node, m.Address)
			nodes = append(nodes, Candidate{Node: m.Node, Address: m.Address, Alive: err == nil})
		}
	}
	fresh := make(map[string]bool)
	for range 2*len(nodes) + 2*maxVoters {
		servers := g.members()
		change, ok := Plan(time.Now(), r.o.Node, servers, nodes)
		if c = change; !ok || ctx.Err() != nil || c.Action == AddVoter && fresh[c.Node] {
			return c, ctx.Err()
		}
		if !r.ready(ctx, g, c, servers) { // gossip hears it, and Raft does not
			for i := range nodes {
				if nodes[i].Node == c.Node {
					nodes[i].Alive, nodes[i].Since = false, time.Now()
				}
			}
			continue
		}
		r.log.Info("the members of the election change", slog.Any("change", c.Action), slog.String("node", c.Node), slog.String("address", c.Address))
		if err := r.change(ctx, g, c); err != nil {
			return c, err
		}
		fresh[c.Node] = c.Action == AddStandby
	}
	return c, nil
}

// ready asks a node that is to be a member whether it answers, and one that is to vote
// whether it has the leader's log: a voter that does not answer may stop the whole group. One
// that is behind gets a little time.
func (r *Raft) ready(ctx context.Context, g *generation, c Change, servers []Server) bool {
	if c.Action != AddVoter && c.Action != AddStandby {
		return true
	}
	standby := slices.ContainsFunc(servers, func(s Server) bool { return s.Node == c.Node && !s.Voter })
	if member := slices.ContainsFunc(servers, func(s Server) bool { return s.Node == c.Node }); member && !standby {
		return true // a voter that moved
	}
	for limit := time.Now().Add(r.t.apply); ; {
		last, err := r.ask(g, c.Node, c.Address)
		switch {
		case err != nil:
			return false
		case c.Action == AddStandby || last >= g.raft.CommitIndex():
			return true
		case time.Now().After(limit) || !pause(ctx, r.t.apply/100):
			return false
		}
	}
}

// ask asks a node for the index of its last entry. The question is an append of term 0, which
// changes nothing.
func (r *Raft) ask(g *generation, node, address string) (last uint64, err error) {
	var answer raft.AppendEntriesResponse
	question := raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(r.o.Node), Addr: []byte(r.o.Address)}}
	err = g.gate.AppendEntries(raft.ServerID(node), raft.ServerAddress(address), &question, &answer)
	return answer.LastLog, err
}

// change makes one change. Raft makes one at a time, and its leader is the only one that
// makes any.
func (r *Raft) change(ctx context.Context, g *generation, c Change) error {
	id, at := raft.ServerID(c.Node), raft.ServerAddress(c.Address)
	return await(ctx, r.t.apply, func() raft.Future {
		switch c.Action {
		case AddVoter:
			return g.raft.AddVoter(id, at, 0, r.t.apply)
		case AddStandby:
			return g.raft.AddNonvoter(id, at, 0, r.t.apply)
		case Demote:
			return g.raft.DemoteVoter(id, 0, r.t.apply)
		}
		return g.raft.RemoveServer(id, 0, r.t.apply)
	})
}

// await waits for a future of Raft at most for a while. The future ends with its Raft.
func await(ctx context.Context, limit time.Duration, begin func() raft.Future) error {
	_, err := within(ctx, limit+time.Duration(rand.Int64N(int64(limit/10)+1)), func() (struct{}, error) {
		return struct{}{}, begin().Error()
	})
	return err
}
