package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	neighbourRate   = 200 // requests per second
	neighbourCalls  = 1000
	neighbourRounds = 3
	spinSource      = `function handle(req) { range(1000000000).each(i => i * i) }`
)

// neighbours measures a quiet app's latency while others spin: one app with 32
// calls, then as many apps as cores and two more.
func (r *Report) neighbours(ctx context.Context, l *lab) error {
	n, crowd := l.hello, runtime.NumCPU()+2
	for i := range crowd {
		app := fmt.Sprintf("spin-%d", i)
		if err := n.deploy(ctx, app, "spin", spinSource); err != nil {
			return err
		}
	}
	cases := []struct {
		name        string
		apps, calls int
	}{
		{"quiet", 0, 0},
		{"one app spins on 32 calls", 1, 32},
		{fmt.Sprintf("%d apps spin on 8 calls each", crowd), crowd, 8},
	}
	rounds := make([][][]float64, len(cases))
	for range neighbourRounds {
		for i, c := range cases {
			stop := n.spin(ctx, c.apps, c.calls)
			times, err := steady(ctx, n.functions+helloCall)
			stop()
			if err != nil {
				return fmt.Errorf("neighbour, %s: %w", c.name, err)
			}
			rounds[i] = append(rounds[i], times)
		}
	}
	for i, c := range cases {
		var p50s, p99s, worst []float64
		for _, times := range rounds[i] {
			p50s, p99s, worst = append(p50s, median(times)), append(p99s, percentile99(times)), append(worst, times[len(times)-1])
		}
		r.Neighbours = append(r.Neighbours, Spread{
			Name: c.name, Count: neighbourCalls, Median: round3(median(p50s)), P99: round3(median(p99s)), Max: round3(median(worst)),
		})
	}
	return nil
}

// spin keeps that many calls under way in each app until stop is called.
func (n *node) spin(ctx context.Context, apps, calls int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: apps * calls}}
	var wg sync.WaitGroup
	for i := range apps * calls {
		url := fmt.Sprintf("%s/fn/spin-%d/spin", n.functions, i%max(apps, 1))
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := drain(ctx, client, url); err != nil {
					pause(ctx, 10*time.Millisecond)
				}
			}
		})
	}
	pause(ctx, 2*time.Second) // the supervisor sees a spinning executor after a second
	return func() {
		cancel()
		wg.Wait()
		client.CloseIdleConnections()
	}
}

// steady calls url at a steady rate, whatever the answers take, and returns the
// sorted times from when each call was due to its answer.
func steady(ctx context.Context, url string) ([]float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	times, errs := make([]float64, neighbourCalls), make([]error, neighbourCalls)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range neighbourCalls {
		due := begin.Add(time.Duration(i) * time.Second / neighbourRate)
		pause(ctx, time.Until(due))
		wg.Go(func() {
			errs[i] = drain(ctx, client, url)
			times[i] = ms(time.Since(due))
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(times)
	return times, nil
}

// drain makes one call and reads its answer.
func drain(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
