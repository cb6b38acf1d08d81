package executor

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestQueue(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.QueueTimeout = 300 * time.Millisecond })
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Concurrency, l.Queue = 2, 2 })
	must(t, f, "/pid")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	call := func(ctx context.Context, path string, out *error) {
		wg.Go(func() {
			r, err := f.Invoke(ctx, &Call{Path: path})
			*out = err
			r.Release()
		})
	}
	errs := make([]error, 4)
	call(ctx, "/slow/60000", &errs[0])
	call(ctx, "/slow/60000", &errs[1])
	eventually(t, "two run", func() bool { return e.live("shop").busy.Load() == 2 })
	call(ctx, "/echo", &errs[2])
	gone, leave := context.WithCancel(context.Background())
	call(gone, "/echo", &errs[3])
	waiting := func(n int) func() bool {
		return func() bool { f.gate.mu.Lock(); defer f.gate.mu.Unlock(); return f.gate.queue.Len() == n }
	}
	eventually(t, "two wait", waiting(2))
	_, err := invoke(t, f, "/echo")
	var pe *picloud.Error
	require.ErrorAs(t, err, &pe)
	require.Equal(t, picloud.CodeQueueFull, pe.Code)
	require.Positive(t, pe.RetryAfter)
	leave()
	eventually(t, "a waiter may leave", waiting(1))
	eventually(t, "or waits too long", waiting(0))
	cancel()
	wg.Wait()
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(errs[0]))
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(errs[1]))
	require.Equal(t, picloud.CodeQueueFull, picloud.CodeOf(errs[2]))
	require.Equal(t, picloud.CodeCancelled, picloud.CodeOf(errs[3]))
	eventually(t, "the places are free when the calls have ended", f.idle)
	must(t, f, "/echo")
}

// TestQueueOrder runs many callers through one place.
func TestQueueOrder(t *testing.T) {
	e := launch(t, nil)
	f := function(e, "shop", "f", func(l *picloud.Limits) { l.Concurrency, l.Queue = 1, 100 })
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%3 == 0 {
				time.AfterFunc(time.Duration(i)*50*time.Microsecond, cancel)
			}
			r, err := f.Invoke(ctx, &Call{Path: "/echo"})
			if err != nil && picloud.CodeOf(err) != picloud.CodeCancelled {
				t.Error(err)
			}
			r.Release()
		})
	}
	wg.Wait()
	require.True(t, f.idle())
	require.Zero(t, f.gate.queue.Len())
}
