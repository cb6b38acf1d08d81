package elect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/internal/service"
)

// Options of a Raft.
type Options struct {
	Node    string // the node's UUID. Required
	Address string // of its cluster port, as others reach it. Required
	Cluster string // the cluster's UUID. Required
	Dir     string // where it keeps its log, by itself: DATA/cluster/raft. Required
	Stream  Stream // what carries it; Stop closes it. Required
	Fence   Fence  // Required
	Duty    Duty   // Required
	// AddressOf returns the present address of a node, from gossip or from what was last
	// known. When it does not know one, the address in the log is used. It must not block.
	AddressOf func(node string) (address string, ok bool)
	// Found is asked when the folder is empty: may this node begin a group of its own, and
	// what is the newest term in the database? Only one node of a cluster may ever be told
	// yes while a group exists. Nil, false or an error: it waits for the leader to add it.
	Found func(ctx context.Context) (floor uint64, yes bool, err error)
	// Nodes lists the nodes of the database with what gossip says of them. The leader asks
	// every 10 s and plans the membership after it. Nil: the membership stays. On an error
	// it stays too.
	Nodes func(ctx context.Context) ([]Candidate, error)
	// Better names a voter that reaches the database, while the fence does not answer this
	// node for 30 s. Nil or "": there is none.
	Better func() string
	// Cut reports whether the database does not answer this node now. A manager that has
	// been cut off for 30 s hands over to Better. It must not block. Nil: it never is.
	Cut func() bool
	// Leases and Contested let the leader keep the leadership when another node contends
	// for it by a Lease, because the leader is the only voter. Nil: nobody does. See
	// LeaseOptions.
	Leases    Leases
	Contested func(holder string) bool
	// Slow doubles the timers, for nodes far from each other.
	Slow bool
	// Logger receives what happens. Default: discard.
	Logger *slog.Logger

	// For tests.
	timers    *timers
	disk      func(dir string) (disk, error)
	transport func() rpcs
}

// timers are all waits of a Raft.
type timers struct {
	heartbeat, election, lease, commit time.Duration // Raft's own
	rpc                                time.Duration // bounds one exchange between nodes
	store                              time.Duration // bounds one operation of the disk
	apply                              time.Duration // bounds an entry, a barrier and a change of the members
	sick                               time.Duration // a leader that can write no entry for so long is given up
	tick                               time.Duration // between two looks at the members
	probe                              time.Duration // between two writes to the leader's disk
	fence                              time.Duration // without the fence for so long, the leader looks for a better one
	rest                               time.Duration // between two handovers for that reason
	rebuild, rebuildMax                time.Duration // before a sick Raft is built anew
	leaseLength                        time.Duration // see LeaseOptions
}

const (
	storeTime     = 10 * time.Second
	keptSnapshots = 2
	// foundPause is the longest wait of a new node for the database, which says whether it
	// begins the elections.
	foundPause = 5 * time.Second
)

// relaxed are the timers of a node: what is lost with a late manager is little, and what
// frequent heartbeats cost is much.
var relaxed = timers{
	heartbeat: 5 * time.Second, election: 5 * time.Second, lease: 2500 * time.Millisecond, commit: time.Second,
	rpc: 10 * time.Second, store: storeTime, apply: 10 * time.Second, sick: 20 * time.Second,
	tick: 10 * time.Second, probe: 30 * time.Second, fence: 30 * time.Second, rest: 2 * time.Minute,
	rebuild: time.Second, rebuildMax: 2 * time.Minute, leaseLength: leaseLength,
}

// slow doubles what depends on the way between the nodes.
func (t timers) slow() timers {
	for _, d := range []*time.Duration{&t.heartbeat, &t.election, &t.lease, &t.rpc, &t.apply, &t.sick} {
		*d *= 2
	}
	return t
}

// config is the configuration of a hashicorp/raft.
func config(t timers, node string, log *slog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(node)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout, c.CommitTimeout = t.heartbeat, t.election, t.lease, t.commit
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = 1024, 10*time.Minute, 256
	c.ShutdownOnRemove = false // the node finds out by itself, and stays a member of the gossip
	c.NoLegacyTelemetry = true
	c.Logger = raftLog(log)
	return c
}

// Raft is the elector of a cluster with three managers or more, and of a node alone. While its
// group has one voter only, a Lease takes that one's place when it is gone.
type Raft struct {
	o   Options
	t   timers
	log *slog.Logger

	wire    *wire
	task    *service.Task
	changed chan struct{}
	asked   chan struct{} // another node contends for the leadership
	steps   chan chan struct{}
	remakes chan remake
	now     atomic.Pointer[generation]
	last    atomic.Pointer[Status] // what the last generation said of itself
	quiet   time.Time              // no handover for the fence's sake before then; the owner's
}

// Status is what a Raft knows of itself.
type Status struct {
	State   string    // "leader", "follower", "candidate", "waiting" to be added, "rebuilding"
	Lead    Lead      // Node is empty while it is not known
	Servers []Server  // the members, as this node knows them
	Term    uint64    // the present term
	Rebuilt int       // how often the Raft was given up since the start
	Trouble string    // why the last one was given up, or cannot be built; empty: all is well
	Bad     string    // where the last damaged folder was put; empty: none was
	Since   time.Time // since when the present one runs
}

// NewRaft prepares a Raft.
func NewRaft(o Options) (*Raft, error) {
	for name, missing := range map[string]bool{
		"Node": o.Node == "", "Address": o.Address == "", "Cluster": o.Cluster == "", "Dir": o.Dir == "",
		"Stream": o.Stream == nil && o.transport == nil, "Fence": o.Fence == nil, "Duty": o.Duty == nil,
	} {
		if missing {
			return nil, fmt.Errorf("prepare the election: the option %s is missing", name)
		}
	}
	t := relaxed
	if o.timers != nil {
		t = *o.timers
	}
	if o.Slow {
		t = t.slow()
	}
	if o.disk == nil {
		o.disk = openFolder
	}
	o.Dir = filepath.Clean(o.Dir)
	r := &Raft{
		o: o, t: t, log: logger(o.Logger), changed: make(chan struct{}, 1), asked: make(chan struct{}, 1),
		steps: make(chan chan struct{}), remakes: make(chan remake),
	}
	r.last.Store(&Status{State: "rebuilding"})
	return r, nil
}

// Start implements Elector. It does not wait for the disk: a Raft that cannot be built is
// tried again.
func (r *Raft) Start() error {
	if r.o.Stream != nil {
		r.wire = newWire(r.o.Stream)
	}
	r.task = service.Go(context.Background(), r.own)
	return nil
}

// Stop implements Elector.
func (r *Raft) Stop() {
	r.task.Stop()
	if r.wire != nil {
		r.wire.stop()
		r.wire = nil
	}
}

// Changed implements Elector.
func (r *Raft) Changed() <-chan struct{} { return r.changed }

// Leader implements Elector.
func (r *Raft) Leader() (Lead, bool) {
	g := r.now.Load()
	if g == nil {
		return Lead{}, false
	}
	return g.leader()
}

// Step implements Elector.
func (r *Raft) Step() {
	if r.task == nil {
		return
	}
	done := make(chan struct{})
	limit := time.NewTimer(r.t.apply + r.t.apply/2)
	defer limit.Stop()
	select {
	case r.steps <- done:
	case <-r.task.Done():
		return
	case <-limit.C:
		return
	}
	select {
	case <-done:
	case <-r.task.Done():
	case <-limit.C:
	}
}

// Challenge tells the node that another one contends for the leadership by a Lease. The leader
// shows at once that it is alive. It does not block.
func (r *Raft) Challenge() { signal(r.asked) }

// Silence returns for how long the node has heard of no leader; 0: it leads itself, or its
// Raft is being built.
func (r *Raft) Silence() time.Duration {
	g := r.now.Load()
	if g == nil || g.raft.State() == raft.Leader {
		return 0
	}
	heard := g.raft.LastContact()
	if heard.Before(g.since) {
		heard = g.since
	}
	return time.Since(heard)
}

// remake asks the owner of a Raft to begin the group anew.
type remake struct {
	floor uint64
	done  chan error
}

// Remake begins the group anew, with this node as its only voter, as Recover does: the
// majority of the voters was lost for good. The terms go on behind floor. The caller has made
// sure that no other node does the same with that floor. What the other voters know of
// the group is overwritten when this one adds them.
func (r *Raft) Remake(ctx context.Context, floor uint64) error {
	q := remake{floor, make(chan error, 1)}
	if r.task == nil {
		return errStopped
	}
	select {
	case r.remakes <- q:
	case <-r.task.Done():
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("begin the group of the election anew: %w", ctx.Err())
	}
	select {
	case err := <-q.done:
		return err
	case <-r.task.Done():
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("begin the group of the election anew: %w", ctx.Err())
	}
}

// errStopped says that the election was stopped.
var errStopped = errors.New("the election on this node was stopped")

// Status returns what the Raft knows of itself.
func (r *Raft) Status() Status {
	s := *r.last.Load()
	g := r.now.Load()
	if g == nil {
		return s
	}
	s.Lead, _ = g.leader()
	s.Term, s.Servers, s.Since = g.raft.CurrentTerm(), g.members(), g.since
	switch g.raft.State() {
	case raft.Leader:
		s.State = "leader"
	case raft.Candidate:
		s.State = "candidate"
	case raft.Follower, raft.Shutdown:
		s.State = "follower"
		if len(s.Servers) == 0 {
			s.State = "waiting"
		}
	}
	return s
}

// own builds one Raft after the other. Each ends when the node stops, or when it is sick.
func (r *Raft) own(ctx context.Context) {
	wait := backoff.New(r.t.rebuild, r.t.rebuildMax)
	for ctx.Err() == nil {
		g, err := r.build(ctx)
		var again remake
		if err == nil {
			r.now.Store(g)
			signal(r.changed)
			began := time.Now()
			again, err = r.serve(ctx, g)
			r.now.Store(nil)
			signal(r.changed)
			g.close()
			if time.Since(began) > 5*r.t.rebuildMax {
				wait.Reset()
			}
		}
		if again.done != nil {
			if !g.gone(ctx) {
				return
			}
			err = Recover(r.o.Dir, r.o.Node, r.o.Address, again.floor)
			again.done <- err
			if err == nil {
				r.log.Warn("this node begins the group of the election anew, as its only voter", slog.Uint64("behind_term", again.floor))
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		s := *r.last.Load()
		s.State = "rebuilding"
		s.Rebuilt++
		repeated := s.Trouble == err.Error()
		s.Trouble = err.Error()
		next := wait.NextBackOff()
		switch {
		case errors.Is(err, errFound):
			next = min(next, foundPause)
			if !repeated {
				r.log.Info("the election waits for the database", slog.Any("cause", err))
			}
			err = nil
		case errors.Is(err, errRemoved):
			r.log.Info("this node votes no more in the cluster's elections")
			err = Wipe(r.o.Dir)
		case damaged(err):
			s.Bad, err = quarantine(r.o.Dir, time.Now())
			r.log.Error("the folder of the election is damaged; this node waits until the leader adds it again", slog.String("put_aside", s.Bad), slog.String("cause", s.Trouble), slog.Any("err", err))
		default:
			r.log.Warn("the election on this node is built anew", slog.Any("cause", err))
			err = nil
		}
		if err != nil {
			s.Trouble = err.Error()
		}
		r.last.Store(&s)
		// The old store may still hang. Nobody opens the folder before it is closed.
		if g != nil && !g.gone(ctx) || !pause(ctx, next) {
			return
		}
	}
}

// generation is one Raft, from its building to its end.
type generation struct {
	r     *Raft
	raft  *raft.Raft
	store *store
	gate  *gate
	mu    sync.Mutex
	given bool        // up: what is being started is to be ended
	leads <-chan bool // of the Raft
	fsm   *ledger
	obs   *raft.Observer
	seen  chan raft.Observation
	since time.Time
	once  sync.Once
}

// build opens the folder and starts a Raft on it. When it fails, everything is closed, or
// closes as soon as the disk answers; the generation then has the store alone.
func (r *Raft) build(ctx context.Context) (*generation, error) {
	s, err := openStore(func() (disk, error) { return r.o.disk(r.o.Dir) }, r.t.store)
	g := &generation{r: r, store: s, fsm: &ledger{}, seen: make(chan raft.Observation, 16), since: time.Now()}
	if err != nil {
		return g, err
	}
	// What builds the Raft touches the disk too, and may panic over what it finds there.
	_, err = within(ctx, 6*r.t.store, func() (struct{}, error) {
		return struct{}{}, g.start(ctx)
	})
	if err != nil {
		g.mu.Lock()
		g.given = true
		g.mu.Unlock()
		g.close()
		if cause := s.trouble(); cause != nil {
			err = cause // Raft keeps the text of an error only
		}
		return g, fmt.Errorf("start the election: %w", err)
	}
	g.obs = raft.NewObserver(g.seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	g.raft.RegisterObserver(g.obs)
	g.leads = g.raft.LeaderCh()
	return g, nil
}

// start builds the Raft. When that lasted so long that the generation was given up, it ends
// the Raft again.
func (g *generation) start(ctx context.Context) error {
	type running struct {
		raft *raft.Raft
		gate *gate
	}
	run, err := recovered(func() (running, error) {
		raft, gate, err := g.startRaft(ctx)
		return running{raft, gate}, err
	})
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.given {
		_ = run.gate.Close()
		return run.raft.Shutdown().Error()
	}
	g.raft, g.gate = run.raft, run.gate
	return nil
}

func (g *generation) startRaft(ctx context.Context) (*raft.Raft, *gate, error) {
	r := g.r
	snaps, err := raft.NewFileSnapshotStoreWithLogger(r.o.Dir, keptSnapshots, silent)
	if err != nil {
		return nil, nil, err
	}
	empty, err := blank(g.store, snaps)
	if err != nil {
		return nil, nil, err
	}
	if empty && r.o.Found != nil {
		floor, yes, err := r.o.Found(ctx)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("%w: %w", errFound, err)
		case yes:
			self := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(r.o.Node), Address: raft.ServerAddress(r.o.Address)}
			if err := found(g.store, self, floor); err != nil {
				return nil, nil, err
			}
			empty = false
		}
	}
	var mute atomic.Bool
	var live atomic.Pointer[raft.Raft]
	mute.Store(empty)
	through := newGate(r.transport(), func() bool {
		if mute.Load() && live.Load() != nil && live.Load().LastIndex() > 0 {
			mute.Store(false)
		}
		return mute.Load()
	})
	begun := false
	defer func() { // Raft panics over a disk that was closed meanwhile
		if !begun {
			if err := through.Close(); err != nil {
				r.log.Warn("a Raft that did not begin keeps its connections", slog.Any("err", err))
			}
		}
	}()
	started, err := raft.NewRaft(config(r.t, r.o.Node, r.log), g.fsm, g.store, g.store, snaps, through)
	if err != nil {
		return nil, nil, err
	}
	begun = true
	live.Store(started)
	if servers := members(started); len(servers) == 1 && servers[0].Node == r.o.Node && servers[0].Voter {
		through.stand(ctx, r.o.Node)
	}
	return started, through, nil
}

// transport opens what carries the messages of one Raft.
func (r *Raft) transport() rpcs {
	if r.o.transport != nil {
		return r.o.transport()
	}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: addresses(r.addressOf), Logger: raftLog(r.log), Stream: r.wire.layer(), MaxPool: 2, Timeout: r.t.rpc,
		// One at a time turns pipelines off. They bring nothing to a log of a few entries a
		// day, and hashicorp/raft v1.8.0 reads a peer there without its lock.
		MaxRPCsInFlight: 1,
	})
}

// addressOf finds a node for the transport.
func (r *Raft) addressOf(node string) (string, bool) {
	if r.o.AddressOf == nil {
		return "", false
	}
	return r.o.AddressOf(node)
}

// addresses implements raft.ServerAddressProvider.
type addresses func(node string) (string, bool)

var errAddress = errors.New("its address is not known")

// ServerAddr implements raft.ServerAddressProvider.
func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if at, ok := a(string(id)); ok {
		return raft.ServerAddress(at), nil
	}
	return "", errAddress // the one in the log is used
}

// leader returns who leads. The term is read before and after, so that both belong together.
func (g *generation) leader() (Lead, bool) {
	for range 3 {
		term := g.raft.CurrentTerm()
		_, id := g.raft.LeaderWithID()
		if g.raft.CurrentTerm() == term {
			return Lead{string(id), term}, id != ""
		}
	}
	return Lead{}, false
}

// members returns the servers of the newest configuration that this node knows.
func (g *generation) members() []Server { return members(g.raft) }

func members(r *raft.Raft) []Server {
	f := r.GetConfiguration() // it does not wait
	if f.Error() != nil {
		return nil
	}
	var out []Server
	for _, s := range f.Configuration().Servers {
		out = append(out, Server{string(s.ID), string(s.Address), s.Suffrage == raft.Voter})
	}
	return out
}

// close ends the Raft in bounded time.
func (g *generation) close() {
	g.once.Do(func() {
		if g.raft != nil {
			if g.obs != nil {
				g.raft.DeregisterObserver(g.obs)
			}
			// The transport first: an exchange that stalls must not hold up the rest.
			_ = g.gate.Close()
			_, _ = within(context.Background(), g.r.t.store, func() (struct{}, error) { return struct{}{}, g.raft.Shutdown().Error() })
		}
		if !g.store.ended() {
			g.store.close()
		}
	})
}

// gone waits until the disk is closed, and reports whether ctx is still alive.
func (g *generation) gone(ctx context.Context) bool {
	select {
	case <-g.store.gone:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// describe returns the leadership for logs.
func (l Lead) describe() []any {
	return []any{slog.String("node", l.Node), slog.Uint64("term", l.Term)}
}
