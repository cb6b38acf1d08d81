package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

const (
	// pollInterval is the floor under the wake-ups: a node that hears nothing
	// still compares its catalog and reports itself this often.
	pollInterval = time.Minute
	// pullTimeout bounds one comparison.
	pullTimeout = 15 * time.Second
	// The pause after a failed comparison doubles from the first to the last.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 15 * time.Second
	// lossRecheck is how long after an interruption a comparison that went well
	// is repeated: the database may have been on its way down.
	lossRecheck = time.Second
)

// CatalogStore is where the node reads the catalog from.
type CatalogStore interface {
	Delta(ctx context.Context, node, incarnation string, have int64) (picloud.Delta, error)
	Sources(ctx context.Context, digests []picloud.Digest) (map[picloud.Digest][]byte, error)
}

// NodeStore is where nodes report themselves.
type NodeStore interface {
	Report(ctx context.Context, n picloud.Node) error
	List(ctx context.Context) ([]picloud.Node, error)
}

// syncer keeps the node's catalog equal to the database's: it pulls when woken
// by a notification or by a deploy on this node, and once a minute in any case.
type syncer struct {
	catalog *catalog
	store   CatalogStore
	nodes   NodeStore
	self    func() picloud.Node
	metrics *metrics
	log     *slog.Logger
	wakeup  chan struct{}
	lost    atomic.Bool // notifications were interrupted since the last comparison

	known bool // the node reported itself since it started; only run touches it
}

// wake asks for a comparison soon; several wakes become one.
func (s *syncer) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// interrupted asks for a comparison now and a moment later.
func (s *syncer) interrupted() {
	s.lost.Store(true)
	s.wake()
}

// run compares until ctx ends.
func (s *syncer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wakeup:
		case <-timer.C:
		}
		if err := s.pull(ctx); err != nil && ctx.Err() == nil {
			s.metrics.pulls.WithLabelValues("error").Inc()
			if errors.Is(err, picloud.ErrUnavailable) {
				s.metrics.dbUp.Set(0) // and not when the disk is full
			}
			if retry == 0 {
				s.log.Warn("catalog comparison failed; serving what this node has", slog.Any("error", err))
			}
			retry = min(max(2*retry, firstRetry), lastRetry)
			timer.Reset(retry/2 + rand.N(retry/2+1))
			continue
		}
		if retry > 0 {
			s.log.Info("catalog comparison works again")
		}
		retry = 0
		s.metrics.pulls.WithLabelValues("ok").Inc()
		s.metrics.dbUp.Set(1)
		if s.lost.Swap(false) {
			timer.Reset(lossRecheck)
			continue
		}
		timer.Reset(pollInterval)
	}
}

// pull brings the catalog up to date and reports the revision served.
func (s *syncer) pull(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	if !s.known {
		// Before it serves anything new: a deploy must not be complete without a
		// node that serves already, but still writes its first copy to disk.
		// Where this fails the report below does too.
		s.known = s.nodes.Report(ctx, s.self()) == nil
	}
	incarnation, have := s.catalog.have()
	delta, err := s.store.Delta(ctx, s.self().ID, incarnation, have)
	if err != nil {
		return err
	}
	if s.catalog.changes(delta) {
		var fetched map[picloud.Digest][]byte
		if missing := s.catalog.missing(delta); len(missing) > 0 {
			if fetched, err = s.store.Sources(ctx, missing); err != nil {
				return err
			}
		}
		if err := s.catalog.apply(delta, fetched); err != nil {
			return err
		}
	} else if err := s.catalog.repair(); err != nil {
		return err
	}
	s.catalog.compared()
	return s.nodes.Report(ctx, s.self())
}
