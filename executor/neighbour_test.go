package executor

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testworker"
)

const (
	neighbourRate = 200 // calls per second
	vmSpin        = `function handle(req) { range(1000000000).each(i => i * i) }`
	nativeSpin    = `function handle(req) { let a = [1]; let b = [1]; range(40).each(i => { a = [a, a]; b = [b, b] }); return a == b }`
)

// BenchmarkNeighbour measures a hello at a steady rate while other apps spin. It
// reports the median of three rounds, alternating with quiet ones; onset is the
// first two seconds of the noise, before any worker that spins is known.
func BenchmarkNeighbour(b *testing.B) {
	e, err := New(Options{WorkerPath: testworker.Path(b), MemoryCap: 2 << 30})
	require.NoError(b, err)
	require.NoError(b, e.Start(context.Background()))
	defer e.Stop()
	hello := version(e, "neighbour", "hello", `function handle(req) { return {hello: req.query.name ?? "world"} }`, 1, nil)
	crowd := runtime.NumCPU() + 2
	for _, c := range []struct {
		name, source string
		apps, calls  int
		timeout      time.Duration
	}{
		{"one app", vmSpin, 1, 32, 10 * time.Second},
		{fmt.Sprintf("%d apps", crowd), vmSpin, crowd, 8, 10 * time.Second},
		{fmt.Sprintf("%d apps, killed", crowd), nativeSpin, crowd, 8, time.Second},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				var quiet, onset, noisy [3][]float64
				for i := range 3 {
					quiet[i] = steady(b, hello, 3*time.Second)
					stop := spin(e, c.source, c.apps, c.calls, c.timeout)
					onset[i] = steady(b, hello, 2*time.Second)
					noisy[i] = steady(b, hello, 5*time.Second)
					stop()
				}
				for name, rounds := range map[string][3][]float64{"quiet": quiet, "onset": onset, "noisy": noisy} {
					var p50s, p99s []float64
					for _, times := range rounds {
						p50s, p99s = append(p50s, times[len(times)/2]), append(p99s, times[len(times)*99/100])
					}
					slices.Sort(p50s)
					slices.Sort(p99s)
					b.ReportMetric(p50s[1], name+"-p50-ms")
					b.ReportMetric(p99s[1], name+"-p99-ms")
				}
			}
		})
	}
}

// spin keeps that many calls under way in each app until stop is called, which
// leaves the apps without workers.
func spin(e *Executor, source string, apps, calls int, timeout time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range apps {
		f := version(e, fmt.Sprintf("spin-%d", i), "spin", source, 1, func(l *picloud.Limits) { l.Timeout = picloud.Duration(timeout) })
		for range calls {
			wg.Go(func() {
				for ctx.Err() == nil {
					r, err := f.Invoke(ctx, &Call{Path: "/"})
					if err != nil && picloud.CodeOf(err) == picloud.CodeBreakerOpen {
						select {
						case <-ctx.Done():
						case <-time.After(10 * time.Millisecond):
						}
					}
					r.Release()
				}
			})
		}
	}
	return func() {
		cancel()
		wg.Wait()
		e.Retain(map[string]struct{}{"neighbour": {}})
	}
}

// steady calls f at a steady rate, whatever the answers take, and returns the
// sorted times in milliseconds from when each call was due to its answer.
func steady(b *testing.B, f *Function, d time.Duration) []float64 {
	n := int(d.Seconds() * neighbourRate)
	times := make([]float64, n)
	tick := time.NewTicker(time.Second / neighbourRate)
	defer tick.Stop()
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / neighbourRate)
		for time.Now().Before(due) {
			<-tick.C
		}
		wg.Go(func() {
			if _, err := invoke(b, f, "/"); err != nil {
				b.Error(err)
			}
			times[i] = float64(time.Since(due).Microseconds()) / 1000
		})
	}
	wg.Wait()
	slices.Sort(times)
	return times
}
