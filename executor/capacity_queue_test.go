package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
)

// TestCapacityAgainstAModel: claims get their bytes first in, first out, none is
// forgotten, and none that left keeps anything.
func TestCapacityAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := &capacity{limit: 10}
		var queue []*claim // the model: who waits, in order
		var held []int64   // and who has what
		used := func() (sum int64) {
			for _, n := range held {
				sum += n
			}
			return sum
		}
		settle := func() {
			for len(queue) > 0 && used()+queue[0].n <= c.limit {
				held = append(held, queue[0].n)
				queue = queue[1:]
			}
		}
		granted := func(cl *claim) bool {
			select {
			case <-cl.granted:
				return true
			default:
				return false
			}
		}
		for range rapid.IntRange(0, 80).Draw(rt, "steps") {
			step := rapid.SampledFrom([]string{"enter", "enter", "release", "leave", "tell"}).Draw(rt, "step")
			switch step {
			case "enter":
				n, impatient := rapid.Int64Range(1, 12).Draw(rt, "n"), rapid.Bool().Draw(rt, "impatient")
				cl, err := c.enter(n, impatient)
				switch {
				case n > c.limit, impatient && len(queue) > 0:
					require.ErrorIs(rt, err, errNoRoom)
				case len(queue) == 0 && used()+n <= c.limit:
					require.NoError(rt, err)
					require.Nil(rt, cl)
					held = append(held, n)
				default:
					require.NoError(rt, err)
					queue = append(queue, cl)
				}
			case "release":
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(rt, "which")
					n := held[i]
					held = slices.Delete(held, i, i+1)
					was := slices.Clone(queue)
					settle()
					c.release(n)
					for _, cl := range was {
						require.Equal(rt, !slices.Contains(queue, cl), granted(cl))
					}
				}
			case "leave":
				if len(queue) > 0 {
					i := rapid.IntRange(0, len(queue)-1).Draw(rt, "who")
					cl := queue[i]
					queue = slices.Delete(queue, i, i+1)
					settle()
					require.False(rt, c.leave(cl))
					require.False(rt, granted(cl))
				}
			case "tell":
				c.tell()
			}
			if len(queue) > 0 && (step != "enter") && len(held) > 0 {
				require.Len(rt, queue[0].look, 1, "the first one is woken")
				<-queue[0].look
			}
			require.Equal(rt, used(), c.used)
			require.EqualValues(rt, len(queue), c.waiting.Load())
			require.Equal(rt, len(queue), c.queue.Len())
			for i, cl := range queue {
				if lacks := c.lacks(cl); i == 0 {
					require.Equal(rt, used()+cl.n-c.limit, lacks)
				} else {
					require.Zero(rt, lacks, "only the first one makes room")
				}
			}
		}
	})
}

// noRoomToMake is the maker of a node whose workers are all busy.
func noRoomToMake(func() int64, bool) (int64, time.Duration) { return 0, 0 }

// TestWaitingForMemory: whatever comes, leaves, and is given up at once, nobody who could
// have memory waits, nobody is overtaken, and nothing is lost.
func TestWaitingForMemory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type visitor struct {
			n        int64
			patience time.Duration
			leaves   time.Duration // its caller; 0: never
			works    time.Duration
		}
		visitors := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) visitor {
			ms := func(from, to int, name string) time.Duration {
				return time.Duration(rapid.IntRange(from, to).Draw(rt, name)) * time.Millisecond
			}
			return visitor{rapid.Int64Range(1, 10).Draw(rt, "n"), ms(0, 300, "patience"), ms(0, 200, "leaves"), ms(1, 100, "works")}
		}), 1, 24).Draw(rt, "visitors")
		synctest.Test(t, func(t *testing.T) {
			c := &capacity{limit: 10}
			var wg sync.WaitGroup
			when := make([]time.Time, len(visitors)) // each got its memory
			for i, v := range visitors {
				ctx, cancel := context.WithCancel(t.Context())
				if v.leaves > 0 {
					time.AfterFunc(v.leaves, cancel)
				}
				wg.Go(func() {
					defer cancel()
					begun := time.Now()
					err := c.reserve(ctx, v.n, v.patience, noRoomToMake)
					waited := time.Since(begun)
					if v.leaves > 0 {
						require.LessOrEqual(t, waited, v.leaves, "it waits no longer than its caller")
					}
					require.LessOrEqual(t, waited, v.patience)
					if err != nil {
						require.True(t, errors.Is(err, errNoRoom) && waited == v.patience || errors.Is(err, context.Canceled) && waited == v.leaves || v.patience == 0, "%v after %v", err, waited)
						return
					}
					when[i] = time.Now()
					<-time.After(v.works)
					c.release(v.n)
				})
				synctest.Wait() // the order in which they come
			}
			wg.Wait()
			when = slices.DeleteFunc(when, time.Time.IsZero)
			require.True(t, slices.IsSortedFunc(when, time.Time.Compare), "nobody was overtaken")
			require.Zero(t, c.used)
			require.Zero(t, c.queue.Len())
			require.Zero(t, c.waiting.Load())
		})
	})
}

// TestGivenUpAtTheLastMoment: memory that comes at the moment in which the caller leaves
// goes to the caller or back, whichever is first.
func TestGivenUpAtTheLastMoment(t *testing.T) {
	c := &capacity{limit: 10}
	for range 5000 {
		require.NoError(t, c.reserve(t.Context(), 10, 0, nil))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if c.reserve(ctx, 10, time.Hour, noRoomToMake) == nil {
				c.release(10)
			}
		})
		for c.waiting.Load() == 0 {
			runtime.Gosched()
		}
		wg.Go(cancel)
		wg.Go(func() { c.release(10) })
		wg.Wait()
		require.Zero(t, c.used)
	}
}

// TestOnlyTheFirstMakesRoom, again when the time comes that the maker named, and when
// something changed.
func TestOnlyTheFirstMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capacity{limit: 10}
		require.NoError(t, c.reserve(t.Context(), 10, 0, nil))
		looks := make(chan time.Time, 16)
		var wg sync.WaitGroup
		begun := time.Now()
		wg.Go(func() {
			require.NoError(t, c.reserve(t.Context(), 6, time.Minute, func(lacks func() int64, _ bool) (int64, time.Duration) {
				require.EqualValues(t, 6, lacks())
				looks <- time.Now()
				return 0, 100 * time.Millisecond
			}))
		})
		synctest.Wait()
		wg.Go(func() {
			require.NoError(t, c.reserve(t.Context(), 4, time.Minute, func(func() int64, bool) (int64, time.Duration) {
				t.Error("it is not the first one")
				return 0, 0
			}))
		})
		synctest.Wait()
		require.Len(t, looks, 1)
		<-time.After(150 * time.Millisecond)
		synctest.Wait()
		require.Len(t, looks, 2, "the time came")
		c.tell()
		synctest.Wait()
		require.Len(t, looks, 3, "something changed")
		c.release(10)
		wg.Wait()
		require.Equal(t, 150*time.Millisecond, time.Since(begun))
		c.release(10)

		// What is becoming free at the end of its patience is worth a little more of it.
		require.NoError(t, c.reserve(t.Context(), 10, 0, nil))
		time.AfterFunc(time.Second+evictTimeout/2, func() { c.release(10) })
		dying := func(func() int64, bool) (int64, time.Duration) { return 10, 0 }
		require.NoError(t, c.reserve(t.Context(), 10, time.Second, dying))
		begun = time.Now()
		require.ErrorIs(t, c.reserve(t.Context(), 10, time.Second, dying), errNoRoom)
		require.Equal(t, time.Second+evictTimeout, time.Since(begun))
		c.release(10)
		require.Zero(t, c.used)
	})
}

// busy has an app's worker run a call until the test's end or until leave.
func busy(t *testing.T, f *Function) (leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = f.Invoke(ctx, &Call{Path: "/slow/60000"}) })
	eventually(t, "busy", func() bool { w := f.pool.exec.live(f.program.App); return w != nil && w.awaited() == 1 })
	leave = func() { cancel(); wg.Wait() }
	t.Cleanup(leave)
	return leave
}

// TestALargeAppIsNotOvertaken by small ones that come after it again and again.
func TestALargeAppIsNotOvertaken(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap, o.MemoryWait = 200<<20, 15*time.Second }) // three workers of 64 MiB
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for i := range 6 {
		f := function(e, fmt.Sprint("small", i), "f", nil)
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = f.Invoke(ctx, &Call{Path: "/slow/30"})
			}
		})
	}
	defer wg.Wait()
	defer stop()
	eventually(t, "no memory left", func() bool { return e.capacity.waiting.Load() > 0 })
	large := function(e, "large", "f", func(l *picloud.Limits) { l.Memory = 192 << 20 })
	body, err := invoke(t, large, "/slow/1")
	require.NoError(t, err)
	require.Equal(t, "done", body)
}

// TestWhoLeavesWaitsForNoMemory: the place of a draft, and the start of a worker, end
// with those who wanted them.
func TestWhoLeavesWaitsForNoMemory(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap, o.MemoryWait = 100<<20, time.Hour })
	leave := busy(t, function(e, "busy", "f", nil))
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 3)
	go func() { _, err := e.Compile(ctx, []byte("f"), "f"); errs <- err }()
	other := function(e, "other", "f", nil)
	for range 2 {
		go func() { _, err := other.Invoke(ctx, &Call{Path: "/pid"}); errs <- err }()
	}
	eventually(t, "both wait", func() bool { return e.capacity.waiting.Load() == 2 })
	cancel()
	for range 3 {
		require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(<-errs))
	}
	eventually(t, "nobody waits", func() bool { return e.capacity.waiting.Load() == 0 })
	require.EqualValues(t, 64<<20, e.capacity.used)
	leave()
	must(t, other, "/pid")
}

// TestOneOfTwoCallersLeaves: the start that both wait for goes on.
func TestOneOfTwoCallersLeaves(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap, o.MemoryWait = 100<<20, time.Hour })
	leave := busy(t, function(e, "busy", "f", nil))
	f := function(e, "app", "f", nil)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := f.Invoke(ctx, &Call{Path: "/pid"}); first <- err }()
	eventually(t, "one waits", func() bool { return e.capacity.waiting.Load() == 1 })
	go func() {
		r, err := f.Invoke(t.Context(), &Call{Path: "/pid"})
		if err == nil {
			r.Release()
		}
		second <- err
	}()
	eventually(t, "two wait", func() bool {
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		return f.pool.starting != nil && f.pool.starting.waiting == 2
	})
	cancel()
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(<-first))
	leave()
	require.NoError(t, <-second)
}

// TestAFreshWorkerIsEvictedLater: one whose call does not come keeps others waiting for
// freshFor only, though nothing happens then.
func TestAFreshWorkerIsEvictedLater(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap, o.MemoryWait = 100<<20, time.Hour })
	f := function(e, "fresh", "f", nil)
	require.NoError(t, f.pool.start(t.Context(), 0))
	must(t, function(e, "other", "f", nil), "/pid")
	require.Equal(t, 1, e.kills(causeEvicted))
}
