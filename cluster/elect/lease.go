package elect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/internal/service"
)

const (
	// leaseLength is how long a lease lasts that is not renewed. The database's clock decides.
	leaseLength = 10 * time.Second
	// renewals is how often a lease is renewed in its length.
	renewals = 3
	// leaseSlack is how long after the end of another node's lease a node asks for it.
	leaseSlack = 50 * time.Millisecond
)

// Leases is the row in PostgreSQL by which nodes take the leadership without Raft.
type Leases interface {
	// Holder returns who holds the leadership; "" is nobody.
	Holder(ctx context.Context) (node string, err error)
	// Lease takes, renews or contends for the leadership by a lease of a length. epoch is
	// the one that the node holds; 0: none. It returns the holder, its epoch, and what is
	// left of its lease. A holder at rest gets a lease, which it has to renew.
	Lease(ctx context.Context, cluster, node string, epoch int64, length time.Duration) (holder string, now int64, left time.Duration, err error)
	// Renew prolongs the lease of the holder, if it has to renew; a length of 0 puts it at
	// rest. An error with picloud.CodeDeposed says that the epoch is over.
	Renew(ctx context.Context, epoch int64, node string, length time.Duration) error
	// Release lets another node take the leadership at once.
	Release(ctx context.Context, epoch int64, node string) error
}

// LeaseOptions are options of a Lease.
type LeaseOptions struct {
	Node    string // the node's UUID. Required
	Cluster string // the cluster's UUID. Required
	Leases  Leases // Required
	Duty    Duty   // Required
	// Contested says whether the nodes have to ask the database who leads, because they do
	// not see each other: for the holder, that it does not see a node that may contend; for
	// the others, that they do not see the holder. It must not block. Required.
	Contested func(holder string) bool
	// Logger receives what happens. Default: discard.
	Logger *slog.Logger

	length time.Duration // for tests
}

// Lease is the elector while Raft's group has one voter, which is gone. One voter cannot
// be outvoted, and of two each could stop the other; the database is the third that
// decides. At rest it sends no statement: the holder keeps the leadership while the
// nodes see each other. When they do not, another node contends, which gives the holder
// 10 s to renew. The database tells the holder of that at once (Challenge). A holder that
// is gone loses the leadership then.
//
// There are never two managers that write: the row has one epoch, which changes with the
// holder, and each write of a manager proves it. The lease is about time only: when to
// take over, never whether a write is allowed.
type Lease struct {
	o       LeaseOptions
	log     *slog.Logger
	task    *service.Task
	changed chan struct{}
	asked   chan struct{}
	steps   chan chan struct{}
	holder  atomic.Pointer[string]
}

// NewLease prepares a Lease.
func NewLease(o LeaseOptions) (*Lease, error) {
	if o.Node == "" || o.Cluster == "" || o.Leases == nil || o.Duty == nil || o.Contested == nil {
		return nil, errors.New("prepare the lease: an option is missing")
	}
	if o.length == 0 {
		o.length = leaseLength
	}
	return &Lease{o: o, log: logger(o.Logger), changed: make(chan struct{}, 1), asked: make(chan struct{}, 1), steps: make(chan chan struct{})}, nil
}

// Start implements Elector.
func (l *Lease) Start() error {
	l.task = service.Go(context.Background(), l.own)
	return nil
}

// Stop implements Elector. It releases the lease, so that another node that asks takes it.
func (l *Lease) Stop() { l.task.Stop() }

// Challenge tells the node that another one contends for the leadership. The holder shows at
// once that it is alive. It does not block.
func (l *Lease) Challenge() { signal(l.asked) }

// Changed implements Elector.
func (l *Lease) Changed() <-chan struct{} { return l.changed }

// Leader implements Elector. The term is 0.
func (l *Lease) Leader() (Lead, bool) {
	if h := l.holder.Load(); h != nil && *h != "" {
		return Lead{Node: *h}, true
	}
	return Lead{}, false
}

// Step implements Elector.
func (l *Lease) Step() {
	if l.task == nil {
		return
	}
	done := make(chan struct{})
	select {
	case l.steps <- done:
	case <-l.task.Done():
		return
	}
	select {
	case <-done:
	case <-l.task.Done():
	}
}

// tenure is the leadership of this node by a lease.
type tenure struct {
	epoch int64
	until time.Time // by this node's monotonic clock; zero: at rest
	task  *service.Task
	err   error // of the duty; read it after the task is done
}

// tenant is the state of a Lease; it belongs to the goroutine of own.
type tenant struct {
	*Lease
	mine  *tenure
	shy   time.Time        // the node stepped down, and takes nothing before then
	known bool             // somebody holds the leadership, and nothing made the node doubt it
	told  bool             // the log has the trouble
	over  <-chan time.Time // when the lease of another node ends; nil: nobody waits for that
}

func (l *Lease) own(ctx context.Context) {
	t := &tenant{Lease: l}
	tick := time.NewTicker(l.o.length / renewals)
	defer tick.Stop()
	defer func() { t.lose(true) }()
	t.look(ctx, false)
	for {
		var over <-chan struct{}
		if t.mine != nil {
			over = t.mine.task.Done()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.look(ctx, false)
		case <-t.over:
			t.over = nil
			t.look(ctx, false)
		case <-l.asked:
			t.look(ctx, true)
		case <-over:
			err := t.mine.err
			l.log.Info("this node gives the leadership away", slog.Any("cause", err))
			t.lose(!deposed(err))
			if !deposed(err) {
				t.shy = time.Now().Add(l.o.length)
			}
		case done := <-l.steps:
			if t.mine != nil {
				t.lose(true)
				t.shy = time.Now().Add(l.o.length)
			}
			close(done)
		}
	}
}

// look asks the database if there is a reason to: another node has challenged the holder, or
// the nodes do not see each other.
func (t *tenant) look(ctx context.Context, challenged bool) {
	ctx, cancel := context.WithTimeout(ctx, t.o.length/renewals)
	defer cancel()
	if t.mine != nil {
		t.hold(ctx, challenged)
		return
	}
	seen, _ := t.Leader()
	if t.known && !t.o.Contested(seen.Node) || time.Now().Before(t.shy) {
		return
	}
	holder, err := t.o.Leases.Holder(ctx)
	if err == nil && (holder == "" || holder == t.o.Node || t.o.Contested(holder)) {
		t.take(ctx)
		return
	}
	if err == nil {
		t.see(holder)
	}
	t.known = err == nil
	t.tell(err)
}

// take asks for the lease.
func (t *tenant) take(ctx context.Context) {
	asked := time.Now()
	holder, epoch, left, err := t.o.Leases.Lease(ctx, t.o.Cluster, t.o.Node, 0, t.o.length)
	t.tell(err)
	if err != nil {
		return
	}
	t.known = true
	if holder != t.o.Node {
		t.over = time.After(min(max(left, 0), t.o.length) + leaseSlack)
	} else {
		mine := &tenure{epoch: epoch, until: asked.Add(t.o.length)}
		lead := Lead{Node: t.o.Node}
		t.log.Info("this node manages the cluster", append(lead.describe(), slog.Int64("epoch", epoch))...)
		mine.task = service.Go(context.Background(), func(ctx context.Context) {
			if mine.err = t.o.Duty(ctx, lead, epoch); mine.err == nil {
				mine.err = errAbdicate
			}
		})
		t.mine = mine
	}
	t.see(holder)
}

// hold keeps the leadership: it renews while another node may contend, and rests else.
func (t *tenant) hold(ctx context.Context, challenged bool) {
	asked, length := time.Now(), t.o.length
	if !t.o.Contested(t.o.Node) {
		if t.mine.until.IsZero() && !challenged {
			return
		}
		length = 0
	}
	var err error
	if length == 0 || !t.mine.until.IsZero() {
		err = t.o.Leases.Renew(ctx, t.mine.epoch, t.o.Node, length)
	} else { // another node may contend already: the row says so
		var holder string
		holder, _, _, err = t.o.Leases.Lease(ctx, t.o.Cluster, t.o.Node, t.mine.epoch, length)
		if err == nil && holder != t.o.Node {
			t.lose(false)
			t.see(holder)
			return
		}
	}
	t.tell(err)
	switch {
	case err == nil && length == 0:
		t.mine.until = time.Time{}
	case err == nil:
		t.mine.until = asked.Add(length)
	case deposed(err):
		t.lose(false)
	case !t.mine.until.IsZero() && time.Now().Add(t.o.length/renewals).After(t.mine.until):
		t.log.Warn("this node could not renew its leadership in time", slog.Any("err", err))
		t.lose(false)
	}
}

// lose ends the tenure; release tells the database.
func (t *tenant) lose(release bool) {
	mine := t.mine
	if mine == nil {
		return
	}
	t.mine, t.known = nil, false
	mine.task.Stop()
	if release {
		ctx, cancel := context.WithTimeout(context.Background(), t.o.length/renewals)
		defer cancel()
		if err := t.o.Leases.Release(ctx, mine.epoch, t.o.Node); err != nil && !deposed(err) {
			t.log.Info("the leadership was not released; it runs out by itself", slog.Any("err", err))
		}
	}
	t.see("")
}

// see notes who holds the leadership.
func (t *tenant) see(holder string) {
	if old := t.holder.Swap(&holder); old == nil || *old != holder {
		signal(t.changed)
	}
}

// tell logs the first of several failures.
func (t *tenant) tell(err error) {
	if err != nil && !t.told {
		t.log.Warn("ask the database who leads", slog.Any("err", err))
	}
	t.told = err != nil
}

// defend renews the leadership of Raft's leader while another node contends for it by a
// lease: when the database says so, and all the time while the nodes do not see each other.
// It returns when the leadership is lost, or with ctx.
func (r *Raft) defend(ctx context.Context, epoch int64) error {
	if r.o.Leases == nil || r.o.Contested == nil {
		return nil
	}
	tick := time.NewTicker(r.t.leaseLength / renewals)
	defer tick.Stop()
	leased := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.asked:
			leased = true // as far as this node knows: the row says so
		}
		length := r.t.leaseLength
		if !r.o.Contested(r.o.Node) {
			if !leased {
				continue
			}
			length = 0
		}
		own, cancel := context.WithTimeout(ctx, r.t.leaseLength/renewals)
		err := r.o.Leases.Renew(own, epoch, r.o.Node, length)
		cancel()
		if deposed(err) {
			return fmt.Errorf("another node took the leadership by a lease: %w", err)
		}
		if err == nil {
			leased = length > 0
		}
	}
}
