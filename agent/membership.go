package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/gossip"
	"github.com/picloud/picloud/internal/service"
)

const (
	// memberEvery is how often a member looks at its place without being told to: the floor
	// under notifications that were lost.
	memberEvery = 10 * time.Minute
	// lonelyEvery is how often it asks for the keys of the gossip while it hears nobody, and
	// how soon it tries again what the database did not answer.
	lonelyEvery = 30 * time.Second
	// ringStep is the longest that a change of the gossip's keys waits for nodes that are
	// alive and do not say that they have them. They get them when they ask.
	ringStep = 30 * time.Second
)

// membership keeps the node's place in the cluster: who the members are, the keys of the
// gossip, and the node's certificate.
type membership struct {
	task  *service.Task
	woken chan struct{}
	ask   atomic.Bool  // the database has news
	alive atomic.Int64 // how many others the gossip heard last
	// promoted says that the node may manage, and that its certificate does not say so yet.
	promoted atomic.Bool

	handing chan struct{} // a place for each catalog that is handed to another node

	copied  time.Time // when a newer catalog of another node could not be taken; zero: it could
	turning bool      // the keys of the gossip are being changed
	step    int       // the revision of the gossip's keys that is waited for
	since   time.Time // when that began
}

func newMembership() *membership {
	return &membership{woken: make(chan struct{}, 1), handing: make(chan struct{}, 2)}
}

// wake asks for a look soon. News says that the database has some, and not the gossip only.
func (m *membership) wake(news bool) {
	if news {
		m.ask.Store(true)
	}
	select {
	case m.woken <- struct{}{}:
	default:
	}
}

func (a *Agent) startMembership() error {
	if a.cluster.Expired() {
		a.log.Error("the node's certificate ran out while it was off", slog.Any("error", a.outcast()))
	}
	a.membership.task = service.Go(context.Background(), a.keepMembership)
	return nil
}

func (a *Agent) keepMembership(ctx context.Context) {
	m, last := a.membership, time.Time{}
	for {
		wait := memberEvery
		if a.cluster.Member() {
			news := false
			a.followDatabase(ctx)
			if d := a.database; d.open.Load() && !d.Trouble() {
				// A node that was told by a member that it was removed asks the database.
				news = m.ask.Swap(false) || a.cluster.Removed() || time.Since(last) >= memberEvery
				news = news && !a.superseded() // its own database is no authority any more
			}
			if news {
				last = time.Now()
				if err := a.learn(ctx); errors.Is(err, picloud.ErrUnavailable) {
					m.ask.Store(true)
					wait = lonelyEvery
				} else if err != nil {
					a.log.Warn("the members of the cluster are not known for certain, or a removed node still has the database", slog.Any("error", err))
				}
			}
			a.cluster.Say() // whether this node reaches the database
			wait = min(wait, a.keepRing(ctx, news), a.keepCertificate(ctx), a.keepCopy(ctx))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-m.woken:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// keepRing brings the keys of the gossip up to date, and returns when to look again. News
// says that the database may have other ones.
func (a *Agent) keepRing(ctx context.Context, news bool) time.Duration {
	if d := a.database; a.manages() && d.open.Load() && !d.Trouble() {
		m, wait := a.membership, memberEvery
		if news || m.turning {
			wait = a.rotate(ctx)
			m.turning = wait < memberEvery
		}
		return wait
	}
	own, others, newer := a.cluster.Ring().Rev, 0, false
	for _, m := range a.alive() {
		others++
		newer = newer || m.Meta.KeyRev > own
	}
	lonely := others == 0 && len(a.cluster.State().Members) > 0
	if newer || lonely {
		a.catchUp(ctx)
	}
	if lonely {
		return lonelyEvery
	}
	return memberEvery
}

// rotate changes the keys of the gossip after a node was removed, in three steps: all nodes
// get the new key beside the old one, then they use it, then the old one goes. Each step is
// in the database before anybody takes it, so that another manager goes on with it. The
// revision says how many steps were taken.
func (a *Agent) rotate(ctx context.Context) time.Duration {
	kept, err := a.database.Cluster().Authority(ctx)
	if err != nil {
		return memberEvery
	}
	_, ring, err := a.opened(kept)
	if err != nil {
		a.log.Error("the keys of the gossip cannot be changed", slog.Any("error", err))
		return memberEvery
	}
	if own := a.cluster.Ring(); own.Rev > ring.rev { // the database is a backup of earlier times
		if a.publish(ctx, ring.rev, own, false) {
			return 0
		}
		return lonelyEvery
	}
	if err := a.cluster.UseRing(cluster.Ring{Keys: ring.keys, Rev: ring.rev}); err != nil {
		a.log.Error("the keys of the gossip cannot be saved", slog.Any("error", err))
		return lonelyEvery
	}
	stage := (ring.rev - 1) % 3
	if stage == 0 && !kept.GossipStale {
		return memberEvery
	}
	if stage != 0 && !a.mayStep(ring.rev) {
		return time.Second
	}
	next := ring.keys
	switch {
	case stage == 0:
		fresh := make([]byte, gossipKey)
		rand.Read(fresh) // never fails
		next = [][]byte{ring.keys[0], fresh}
	case stage == 1 && len(ring.keys) == 2:
		next = [][]byte{ring.keys[1], ring.keys[0]}
	case stage == 2:
		next = ring.keys[:1]
	}
	if !a.publish(ctx, ring.rev, cluster.Ring{Keys: next, Rev: ring.rev + 1}, stage == 0) {
		return lonelyEvery
	}
	if stage == 2 {
		a.log.Info("the keys of the gossip were changed", slog.Int("revision", ring.rev+1))
		return 0 // another node may have been removed meanwhile
	}
	return time.Second
}

// publish makes a ring that of the cluster after revision from, and takes it.
func (a *Agent) publish(ctx context.Context, from int, next cluster.Ring, fresh bool) bool {
	key, err := a.vault.Key()
	done := false
	if err == nil {
		done, err = a.database.Cluster().ChangeGossip(ctx, key.Seal(sealedGossip, bytes.Join(next.Keys, nil)), from, next.Rev, fresh)
	}
	if err == nil && done {
		err = a.cluster.UseRing(next)
	}
	if err != nil {
		a.log.Error("the keys of the gossip are not changed yet", slog.Any("error", err))
	}
	return err == nil && done
}

// mayStep reports whether all nodes that are alive have a revision of the gossip's keys, or
// were waited for long enough.
func (a *Agent) mayStep(rev int) bool {
	m := a.membership
	if m.step != rev {
		m.step, m.since = rev, time.Now()
	}
	if time.Since(m.since) > ringStep {
		return true
	}
	return !slices.ContainsFunc(a.alive(), func(m gossip.Member) bool { return m.Meta.KeyRev < rev })
}

// alive lists the other members that the gossip hears. A removed node is none, though it is
// heard until the keys are changed.
func (a *Agent) alive() []gossip.Member {
	removed := a.cluster.Ring().Removed
	return slices.DeleteFunc(a.cluster.Members(), func(m gossip.Member) bool {
		return !m.Alive || m.Node == a.identity.ID || slices.Contains(removed, m.Node)
	})
}

// keepCertificate renews the node's certificate when two thirds of its life are over, or when
// the node was promoted, and returns when to look again.
func (a *Agent) keepCertificate(ctx context.Context) time.Duration {
	renew, expires := a.cluster.Validity()
	left := renew.Sub(a.cluster.Now())
	if left > 0 && !a.membership.promoted.Load() || a.cluster.Expired() || a.cluster.Removed() {
		return max(left, time.Minute)
	}
	csr, err := a.cluster.Request()
	if err == nil {
		err = a.renew(ctx, renewal{CSR: csr})
	}
	if err != nil {
		a.log.Warn("the node's certificate is not renewed yet", slog.Time("valid_until", expires), slog.Any("error", err))
		return memberEvery
	}
	_, expires = a.cluster.Validity()
	a.log.Info("the node's certificate was renewed", slog.Time("valid_until", expires))
	if a.membership.promoted.Swap(false) {
		a.cluster.Say()
		if err := a.election.begin(); err != nil {
			a.log.Error("this node may manage now, and takes part in the elections after its next start only", slog.Any("error", err))
		}
	}
	return memberEvery
}

// renew gets the next certificate: from the manager, with the old one as proof, or from the
// authority itself if this node is the manager.
func (a *Agent) renew(ctx context.Context, q renewal) error {
	var got renewed
	var err error
	if a.manages() {
		if err := a.database.closed(); err != nil {
			return err
		}
		got, err = a.renewFor(ctx, a.cluster.Peer(), q)
	} else if manager, known := a.awaitLeader(ctx); !known {
		err = noManager("only it can sign certificates", nil)
	} else {
		err = a.ask(ctx, manager, http.MethodPost, pathRenew, q, &got)
	}
	if err != nil {
		return err
	}
	return a.cluster.Renew(got.Certificate, got.Roots)
}

// outcast says why no member lets this node in any more, or nil.
func (a *Agent) outcast() error {
	name := a.cluster.State().Name
	if a.superseded() {
		return elsewhere(name)
	}
	if a.cluster.Removed() {
		return removedFrom(name)
	}
	if a.cluster.Expired() {
		_, expires := a.cluster.Validity()
		return expired(name, expires)
	}
	return nil
}

func removedFrom(name string) error {
	return &picloud.Error{
		Code: picloud.CodeNotInvited, Op: "reach cluster", Resource: name, Detail: "this node was removed from it; it serves what its disk copy has, and hears of no change",
		Hint: "`picloud node reset` empties this node's data folder, so that it can join as a new node",
	}
}

func expired(name string, at time.Time) error {
	return &picloud.Error{
		Code: picloud.CodeNotInvited, Op: "reach cluster", Resource: name,
		Detail: "this node's certificate was valid until " + at.UTC().Format(time.DateOnly) + "; it serves what its disk copy has, and hears of no change",
		Hint:   "run `picloud node invite` on another node, and start this one again with the --join and --token that it prints: it stays the node that it is",
	}
}
