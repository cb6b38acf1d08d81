package elect

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// The fence in memory has the rules of the leases of fleet.Leadership too.

func (f *fence) Holder(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	if f.down {
		return "", errDown
	}
	return f.node, nil
}

func (f *fence) Lease(_ context.Context, _, node string, epoch int64, length time.Duration) (string, int64, time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	now := time.Now()
	leased := !f.until.IsZero()
	takes := f.node == "" || f.node == node || leased && now.After(f.until)
	switch {
	case f.down:
		return "", 0, 0, errDown
	case takes && epoch != f.epoch || takes && epoch == 0:
		f.epoch++
		f.node, f.until = node, now.Add(length)
	case takes:
		f.until = now.Add(length)
	case !leased:
		f.until = now.Add(length)
		if f.challenge != nil {
			f.challenge() // as the database tells the nodes
		}
	}
	return f.node, f.epoch, f.until.Sub(now), nil
}

func (f *fence) Renew(_ context.Context, epoch int64, node string, length time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked.Add(1)
	switch {
	case f.down:
		return errDown
	case f.epoch != epoch || f.node != node:
		return &picloud.Error{Code: picloud.CodeDeposed}
	case length == 0:
		f.until = time.Time{}
	case !f.until.IsZero():
		f.until = time.Now().Add(length)
	}
	return nil
}

func (f *fence) Release(_ context.Context, epoch int64, node string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == epoch && f.node == node {
		f.until = time.Now()
	}
	return nil
}

// tenantOf starts a Lease of a node.
func tenantOf(t *testing.T, f Leases, i int, contested *atomic.Bool) (*Lease, *node) {
	t.Helper()
	n := &node{id: nodeID(i), ended: make(chan time.Time, 100), quit: make(chan error)}
	l, err := NewLease(LeaseOptions{Node: n.id, Cluster: clusterID, Leases: f, Duty: n.duty, Contested: func(string) bool { return contested.Load() }})
	require.NoError(t, err)
	require.NoError(t, l.Start())
	return l, n
}

// unreachable is a fence that one node cannot reach.
type unreachable struct {
	*fence
	down atomic.Bool
}

func (u *unreachable) Holder(ctx context.Context) (string, error) {
	if u.down.Load() {
		return "", errDown
	}
	return u.fence.Holder(ctx)
}

func (u *unreachable) Lease(ctx context.Context, c, n string, e int64, l time.Duration) (string, int64, time.Duration, error) {
	if u.down.Load() {
		return "", 0, 0, errDown
	}
	return u.fence.Lease(ctx, c, n, e, l)
}

func (u *unreachable) Renew(ctx context.Context, e int64, n string, l time.Duration) error {
	if u.down.Load() {
		return errDown
	}
	return u.fence.Renew(ctx, e, n, l)
}

func TestALeaseMovesWhenItsHolderIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fence{}
		a := &unreachable{fence: f}
		var contestedA, contestedB atomic.Bool
		one, first := tenantOf(t, a, 1, &contestedA)
		synctest.Wait()
		require.EqualValues(t, 1, first.epoch.Load(), "it leads at once")
		two, second := tenantOf(t, f, 2, &contestedB)
		<-time.After(time.Minute)
		lead, ok := two.Leader()
		require.True(t, ok)
		require.Equal(t, Lead{Node: first.id}, lead)
		asked := f.asked.Load()
		<-time.After(time.Hour)
		require.Equal(t, asked, f.asked.Load(), "at rest nobody asks the database")

		// They do not see each other, and both reach the database: the holder keeps it.
		contestedA.Store(true)
		contestedB.Store(true)
		<-time.After(10 * time.Minute)
		require.EqualValues(t, 1, first.epoch.Load())
		require.Zero(t, second.runs.Load())

		// The holder does not reach it: it stops before the other one begins.
		a.down.Store(true)
		<-time.After(2*leaseLength + time.Second)
		require.Zero(t, first.epoch.Load())
		require.EqualValues(t, 2, second.epoch.Load())
		require.Len(t, first.ended, 1)
		a.down.Store(false)
		contestedA.Store(false)
		contestedB.Store(false)
		<-time.After(time.Minute)
		lead, ok = one.Leader()
		require.True(t, ok)
		require.Equal(t, second.id, lead.Node)
		asked = f.asked.Load()
		<-time.After(time.Hour)
		require.Equal(t, asked, f.asked.Load())

		// The one at rest is gone: the other contends, and takes it after 15 s.
		two.task.Stop() // kill -9 releases nothing
		f.set(func() { f.until = time.Time{} })
		contestedA.Store(true)
		began := time.Now()
		for first.epoch.Load() == 0 && time.Since(began) < time.Minute {
			<-time.After(time.Second)
		}
		require.EqualValues(t, 3, first.epoch.Load())
		require.LessOrEqual(t, time.Since(began), leaseLength+2*leaseLength/renewals)
		require.GreaterOrEqual(t, time.Since(began), leaseLength)
		one.Stop()
		require.Zero(t, first.epoch.Load())
		require.LessOrEqual(t, first.over.Load(), int64(1))
	})
}

func TestALeaseIsGivenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fence{}
		var contested atomic.Bool
		contested.Store(true)
		one, first := tenantOf(t, f, 1, &contested)
		synctest.Wait()
		two, second := tenantOf(t, f, 2, &contested)
		synctest.Wait()
		one.Step()
		<-time.After(leaseLength/renewals + time.Second)
		require.Zero(t, first.epoch.Load())
		require.EqualValues(t, 2, second.epoch.Load())
		second.quit <- errors.New("broken")
		<-time.After(leaseLength)
		require.EqualValues(t, 3, first.epoch.Load())
		first.quit <- &picloud.Error{Code: picloud.CodeDeposed}
		<-time.After(time.Second)
		one.Stop() // hands it on
		<-time.After(2 * leaseLength)
		require.NotZero(t, second.epoch.Load())
		two.Stop()
		two.Step() // after the end it does nothing
	})
}

func TestRaftsLeaderDefendsItsPlace(t *testing.T) {
	var contested atomic.Bool
	g := &group{t: t, fence: &fence{}}
	n := g.add(0, func(o *Options) { o.Leases, o.Contested = g.fence, func(string) bool { return contested.Load() } })
	g.eventually(func() bool { return g.leader() == n }, "it leads")
	contend := func() {
		_, _, _, err := g.fence.Lease(t.Context(), clusterID, nodeID(5), 0, quick.leaseLength)
		require.NoError(t, err)
	}
	contested.Store(true)
	require.Never(t, func() bool {
		_, _, _, err := g.fence.Lease(t.Context(), clusterID, nodeID(5), 0, quick.leaseLength)
		return err != nil || n.epoch.Load() != 1
	}, 3*quick.leaseLength, quick.leaseLength/5, "it renews")
	contested.Store(false)
	g.eventually(func() bool {
		return func() bool { g.fence.mu.Lock(); defer g.fence.mu.Unlock(); return g.fence.until.IsZero() }()
	}, "it rests")

	// It does not notice that another node contends: it loses, and takes it back in the same
	// term when the lease is over.
	contend()
	g.eventually(func() bool { g.fence.mu.Lock(); defer g.fence.mu.Unlock(); return time.Now().After(g.fence.until) }, "the lease is over")
	contend()
	require.Error(t, g.fence.write(1))
	contested.Store(true)
	g.eventually(func() bool { return n.epoch.Load() == 3 }, "it leads again")
	require.EqualValues(t, 1, n.over.Load())
}
