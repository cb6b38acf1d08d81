package executor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
)

// TestGateModel runs random sequences of arrivals, departures, cancels and waits
// against a model: places and room are never exceeded, never lost, and given in
// the order of arrival.
func TestGateModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 3).Draw(rt, "limit")
		room := rapid.IntRange(0, 4).Draw(rt, "room")
		actions := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(rt, "actions")
		synctest.Test(t, func(t *testing.T) { gateModel(t, limit, room, actions) })
	})
}

// visitor is a call at the gate.
type visitor struct {
	cancel  context.CancelFunc
	arrived time.Time
	err     error
	done    atomic.Bool // err is there
}

func gateModel(t *testing.T, limit, room int, actions []int) {
	const timeout = time.Second
	var g gate
	g.init(limit, room, timeout)
	var running, waiting []*visitor
	// admitted moves who has a place by the model.
	admitted := func() {
		for len(running) < limit && len(waiting) > 0 {
			running, waiting = append(running, waiting[0]), waiting[1:]
		}
	}
	for _, action := range actions {
		switch {
		case action < 5: // arrive
			ctx, cancel := context.WithCancel(t.Context())
			v := &visitor{cancel: cancel, arrived: time.Now()}
			go func() { v.err = g.acquire(ctx); v.done.Store(true) }()
			synctest.Wait()
			if len(running) == limit && len(waiting) == room {
				require.True(t, v.done.Load())
				require.Equal(t, picloud.CodeQueueFull, picloud.CodeOf(v.err))
				cancel()
				continue
			}
			waiting = append(waiting, v)
			admitted()
		case action < 7 && len(running) > 0: // leave
			running[0].cancel()
			running = running[1:]
			admitted()
			require.Equal(t, len(running) == 0, g.release())
		case action == 7 && len(waiting) > 0: // give up
			v := waiting[len(waiting)/2]
			waiting = slices.Delete(waiting, len(waiting)/2, len(waiting)/2+1)
			v.cancel()
			synctest.Wait()
			require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(v.err))
		case action >= 8: // time goes by
			<-time.After(timeout / 3)
			for len(waiting) > 0 && time.Since(waiting[0].arrived) >= timeout {
				v := waiting[0]
				waiting = waiting[1:]
				synctest.Wait()
				require.Equal(t, picloud.CodeQueueFull, picloud.CodeOf(v.err))
				v.cancel()
			}
		}
		synctest.Wait()
		for _, v := range running {
			require.True(t, v.done.Load())
			require.NoError(t, v.err)
		}
		for _, v := range waiting {
			require.False(t, v.done.Load())
		}
		g.mu.Lock()
		require.Equal(t, len(running), g.running)
		require.Equal(t, len(waiting), g.queue.Len())
		g.mu.Unlock()
	}
	for _, v := range slices.Concat(waiting, running) {
		v.cancel()
	}
	synctest.Wait()
}

// TestWatch fires once per deadline, not once per announcement, and is off when
// nothing is due.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		epoch := time.Now()
		now := func() int64 { return int64(time.Since(epoch)) }
		var mu sync.Mutex
		var due []int64
		var scans []time.Duration
		w := newWatch(now, func(at int64) int64 {
			mu.Lock()
			defer mu.Unlock()
			scans = append(scans, time.Duration(at))
			due = slices.DeleteFunc(due, func(d int64) bool { return d <= at })
			if len(due) == 0 {
				return never
			}
			return slices.Min(due)
		})
		announce := func(in time.Duration) {
			mu.Lock()
			due = append(due, now()+int64(in))
			mu.Unlock()
			w.arm(now() + int64(in))
		}
		for range 1000 {
			announce(10 * time.Second)
		}
		announce(5 * time.Second)
		<-time.After(time.Minute)
		synctest.Wait()
		require.Equal(t, []time.Duration{5 * time.Second, 10 * time.Second}, scans)
		require.Equal(t, int64(never), w.armed.Load())

		scans = nil
		for i := range 100 { // many deadlines at nearly the same time share scans
			announce(time.Duration(i) * 100 * time.Microsecond)
		}
		<-time.After(time.Second)
		synctest.Wait()
		require.Less(t, len(scans), 10*int(time.Millisecond)/int(scanPause)+3)
		require.Empty(t, due)

		announce(time.Second)
		w.stop()
		w.stop()
		scans = nil
		announce(time.Millisecond)
		<-time.After(time.Minute)
		synctest.Wait()
		require.Empty(t, scans)
	})
}
