package executor

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestIdleReaping(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.IdleTimeout = 50 * time.Millisecond })
	f := function(e, "shop", "f", nil)
	pid := must(t, f, "/pid")
	require.Equal(t, "done", must(t, f, "/slow/200"), "a busy worker is not idle")
	eventually(t, "no worker", func() bool { return e.alive() == 0 })
	require.Empty(t, children(t))
	require.Equal(t, 1, e.kills(causeIdle))
	require.Equal(t, int64(never), e.watch.armed.Load(), "an idle executor has no timer")
	require.NotEqual(t, pid, must(t, f, "/pid"))
}

func TestMemoryCap(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap, o.MemoryWait = 150<<20, 20*time.Millisecond }) // two workers of 64 MiB
	a, b, c := function(e, "a", "f", nil), function(e, "b", "f", nil), function(e, "c", "f", nil)
	pidA, pidB := must(t, a, "/pid"), must(t, b, "/pid")
	require.Equal(t, pidA, must(t, a, "/pid"))
	pidC := must(t, c, "/pid") // evicts b, which was idle longer
	require.Equal(t, 1, e.kills(causeEvicted))
	require.Equal(t, pidA, must(t, a, "/pid"))
	require.Equal(t, pidC, must(t, c, "/pid"))
	require.NotEqual(t, pidB, must(t, b, "/pid"))

	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for _, f := range []*Function{a, b} {
		wg.Go(func() {
			_, err := f.Invoke(ctx, &Call{Path: "/slow/60000"})
			require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(err))
		})
	}
	eventually(t, "both busy", func() bool { return e.live("a").busy.Load() == 1 && e.live("b").busy.Load() == 1 })
	_, err := invoke(t, c, "/pid")
	require.Equal(t, picloud.CodeNoMemory, picloud.CodeOf(err), err)
	e.live("a").killIfIdle(causeEvicted) // as if its call had come between choosing and ending it
	require.False(t, e.live("a").dead.Load())
	cancel()
	wg.Wait()
	eventually(t, "room again", func() bool { _, err := invoke(t, c, "/pid"); return err == nil })
	_, err = invoke(t, function(e, "d", "f", func(l *picloud.Limits) { l.Memory = 1 << 30 }), "/pid")
	require.Equal(t, picloud.CodeNoMemory, picloud.CodeOf(err), err)
}

// TestAStormOfApps calls more cold apps at once than fit: the last ones wait, and none is
// refused.
func TestAStormOfApps(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap, o.MemoryWait = 200<<20, 20*time.Second })
	var wg sync.WaitGroup
	for i := range 30 {
		f := function(e, fmt.Sprintf("app%d", i), "f", nil)
		wg.Go(func() {
			if body, err := invoke(t, f, "/slow/10"); err != nil || body != "done" {
				t.Errorf("app %d: %q, %v", i, body, err)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, e.alive(), 3)
	require.Zero(t, e.capacity.waiting.Load())
}

// TestManyAppsOverTheCap has more apps call at once than fit: each call is
// answered or refused with a typed error, and none is lost.
func TestManyAppsOverTheCap(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MemoryCap = 200 << 20 })
	var wg sync.WaitGroup
	for i := range 12 {
		f := function(e, fmt.Sprintf("app%d", i), "f"+strconv.Itoa(i), nil)
		wg.Go(func() {
			for range 10 {
				body, err := invoke(t, f, "/source")
				if err == nil && body != "f"+strconv.Itoa(i) || err != nil && picloud.CodeOf(err) != picloud.CodeNoMemory {
					t.Errorf("app %d: %q, %v", i, body, err)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, e.alive(), 3)
}

// TestScaling gives an app another worker when calls wait, and takes it back.
func TestScaling(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.MaxWorkers, o.IdleTimeout = 3, 300*time.Millisecond })
	f := function(e, "shop", "f", nil)
	must(t, f, "/echo")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for range 12 {
				must(t, f, "/spin/20")
			}
		})
	}
	eventually(t, "three workers", func() bool { return e.alive() == 3 })
	wg.Wait()
	eventually(t, "idle ones leave", func() bool { return e.alive() == 0 })

	// Many quick calls do not need a second worker.
	must(t, f, "/echo")
	for range 8 {
		wg.Go(func() {
			for range 50 {
				must(t, f, "/echo")
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, e.alive(), 2)
}
