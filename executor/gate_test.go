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

// TestGateModel runs random sequences of arrivals, departures, cancels, waits and changes
// of the limit, some of which end by themselves, against a model: places and room are never
// exceeded, never lost, and given in the order of arrival; no change ends a call.
func TestGateModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.IntRange(1, 3).Draw(rt, "limit")
		room := rapid.IntRange(0, 4).Draw(rt, "room")
		actions := rapid.SliceOfN(rapid.IntRange(0, 17), 1, 60).Draw(rt, "actions")
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
	g := newGate(limit, room, timeout)
	shorts, short := 0, 0
	g.watch(func() { shorts++ })
	var running, waiting []*visitor
	var until time.Time // the limit is 0 from then on
	most := 0
	count := func() { most = max(most, len(running)+len(waiting)) }
	// admitted moves who has a place by the model.
	admitted := func() {
		for len(running) < limit && len(waiting) > 0 {
			running, waiting = append(running, waiting[0]), waiting[1:]
		}
	}
	for _, action := range actions {
		if !until.IsZero() && !time.Now().Before(until) {
			limit = 0
		}
		switch {
		case action < 5: // arrive
			ctx, cancel := context.WithCancel(t.Context())
			v := &visitor{cancel: cancel, arrived: time.Now()}
			go func() { v.err = g.acquire(ctx); v.done.Store(true) }()
			synctest.Wait()
			if free := len(waiting) == 0 && len(running) < limit; !free {
				short++
			}
			if len(running) >= limit && len(waiting) == room {
				require.True(t, v.done.Load())
				require.Equal(t, picloud.CodeQueueFull, picloud.CodeOf(v.err))
				cancel()
				continue
			}
			waiting = append(waiting, v)
			admitted()
			count()
		case action >= 14: // the limit changes
			limit, until = action-14, time.Time{}
			g.resize(limit, until)
			admitted()
		case action >= 10: // it changes for a while
			limit, until = action-10, time.Now().Add(timeout/2)
			g.resize(limit, until)
			admitted()
		case action < 7 && len(running) > 0: // leave
			running[0].cancel()
			running = running[1:]
			admitted()
			g.release()
		case action == 7 && len(waiting) > 0: // give up
			v := waiting[len(waiting)/2]
			waiting = slices.Delete(waiting, len(waiting)/2, len(waiting)/2+1)
			v.cancel()
			synctest.Wait()
			require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(v.err))
		case action == 8: // somebody looks
			r, w, peak := g.load()
			require.Equal(t, []int{len(running), len(waiting), most}, []int{r, w, peak})
			most = 0
			count()
		case action == 9: // time goes by
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
		require.Equal(t, short, shorts, "each call that finds no place says so")
	}
	for _, v := range slices.Concat(waiting, running) {
		v.cancel()
	}
	synctest.Wait()
}

// BenchmarkGate measures a call that finds a place, alone and beside others. A limit that
// has an end costs a look at the clock.
func BenchmarkGate(b *testing.B) {
	for name, until := range map[string]time.Time{"own": {}, "shared": time.Now().Add(time.Hour)} {
		b.Run(name, func(b *testing.B) {
			g := newGate(32, 128, time.Minute)
			g.resize(32, until)
			b.ReportAllocs()
			for b.Loop() {
				if g.acquire(b.Context()) == nil {
					g.release()
				}
			}
		})
	}
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
