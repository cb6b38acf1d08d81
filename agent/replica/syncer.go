package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/backoff"
)

const (
	// pollInterval is the floor under the wake-ups: a node that hears nothing
	// still compares its catalog and reports itself this often.
	pollInterval = time.Minute
	// pullTimeout bounds one comparison.
	pullTimeout = 15 * time.Second
	// lossRecheck is how long after an interruption a comparison that went well
	// is repeated: the database may have been on its way down.
	lossRecheck = time.Second
)

// Catalog is where a node reads the catalog from.
type Catalog interface {
	Delta(ctx context.Context, node, incarnation string, have int64) (picloud.Delta, error)
	Sources(ctx context.Context, digests []picloud.Digest) (map[picloud.Digest][]byte, error)
}

// Nodes is where nodes report themselves.
type Nodes interface {
	Report(ctx context.Context, n picloud.Node) error
	List(ctx context.Context) ([]picloud.Node, error)
}

// Syncer keeps a replica equal to the database: it pulls when it is woken by a
// notification or by a deploy on this node, and once a minute in any case.
type Syncer struct {
	replica *Replica
	store   Catalog
	nodes   Nodes
	self    func() picloud.Node
	log     *slog.Logger
	wakeup  chan struct{}
	lost    atomic.Bool // notifications were interrupted since the last comparison

	known bool // the node reported itself since it started; only Run touches it
}

// NewSyncer returns the syncer of a replica. Self is the node as it reports
// itself, with the replica's durable revision.
func NewSyncer(r *Replica, store Catalog, nodes Nodes, self func() picloud.Node) *Syncer {
	return &Syncer{replica: r, store: store, nodes: nodes, self: self, log: r.log, wakeup: make(chan struct{}, 1)}
}

// Wake asks for a comparison soon; several wakes become one.
func (s *Syncer) Wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// Interrupted asks for a comparison now and a moment later.
func (s *Syncer) Interrupted() {
	s.lost.Store(true)
	s.Wake()
}

// Run compares until ctx ends.
func (s *Syncer) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause, failing := backoff.New(backoff.First, backoff.Soon), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wakeup:
		case <-timer.C:
		}
		if err := s.pull(ctx); err != nil && ctx.Err() == nil {
			s.replica.metrics.pulls.WithLabelValues("error").Inc()
			if errors.Is(err, picloud.ErrUnavailable) {
				s.replica.metrics.databaseUp.Set(0) // and not when the disk is full
			}
			if !failing {
				s.log.Warn("catalog comparison failed; serving what this node has", slog.Any("error", err))
			}
			failing = true
			timer.Reset(pause.NextBackOff())
			continue
		}
		if failing {
			s.log.Info("catalog comparison works again")
			pause.Reset()
			failing = false
		}
		s.replica.metrics.pulls.WithLabelValues("ok").Inc()
		s.replica.metrics.databaseUp.Set(1)
		if s.lost.Swap(false) {
			timer.Reset(lossRecheck)
			continue
		}
		timer.Reset(pollInterval)
	}
}

// pull brings the catalog up to date and reports the revision served.
func (s *Syncer) pull(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	if !s.known {
		// Before it serves anything new: a deploy must not be complete without a
		// node that serves already, but still writes its first copy to disk.
		// Where this fails the report below does too.
		s.known = s.nodes.Report(ctx, s.self()) == nil
	}
	err := errMoved
	for errors.Is(err, errMoved) { // another node brings one revision, so this ends
		err = s.compare(ctx)
	}
	if err != nil {
		return err
	}
	s.replica.age.compared()
	return s.nodes.Report(ctx, s.self())
}

// compare brings the catalog to what the database has now.
func (s *Syncer) compare(ctx context.Context) error {
	base := s.replica.State()
	incarnation, have := s.replica.have()
	delta, err := s.store.Delta(ctx, s.self().ID, incarnation, have)
	if err != nil {
		return err
	}
	if !base.changedBy(delta) {
		return s.replica.repair()
	}
	var fetched map[picloud.Digest][]byte
	if missing := s.replica.missing(delta); len(missing) > 0 {
		if fetched, err = s.store.Sources(ctx, missing); err != nil {
			return err
		}
	}
	if err := s.replica.applyTo(base, delta, fetched); err != nil {
		return err
	}
	s.replica.dropHanded()
	return nil
}
