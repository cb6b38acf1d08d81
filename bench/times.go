package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// coldStarts calls apps that have no executor yet.
func (r *Report) coldStarts(ctx context.Context, l *lab) error {
	n := l.hello
	for i := range l.plan.coldApps {
		if err := n.deploy(ctx, fmt.Sprintf("cold-%d", i), "hello", helloSource); err != nil {
			return err
		}
	}
	var times []float64
	for i := range l.plan.coldApps {
		url := fmt.Sprintf("%s/fn/cold-%d/hello", n.functions, i)
		begin := time.Now()
		if _, err := get(ctx, url); err != nil {
			return fmt.Errorf("cold start: %w", err)
		}
		times = append(times, ms(time.Since(begin)))
	}
	r.Times = append(r.Times, spread("cold start: first call of an idle app", times))
	r.Memory = append(r.Memory, n.workers("executors of those apps together"))
	return nil
}

// deployTimes measures from the beginning of a deploy to the end of the first
// request that the new version answered.
func (r *Report) deployTimes(ctx context.Context, l *lab) error {
	n := l.hello
	var times []float64
	for i := range l.plan.deploys {
		want := fmt.Sprintf("version %d", i)
		begin := time.Now()
		if err := n.deploy(ctx, "default", "live", fmt.Sprintf("function handle(req) { return %q }", want)); err != nil {
			return err
		}
		body, err := get(ctx, n.functions+"/fn/default/live")
		if err == nil && body != want {
			err = fmt.Errorf("the answer is %q, not %q", body, want)
		}
		if err != nil {
			return fmt.Errorf("after a deploy that every node acknowledged: %w", err)
		}
		times = append(times, ms(time.Since(begin)))
	}
	r.Times = append(r.Times, spread("deploy → first new answer", times))
	return nil
}

// Spread summarizes times in milliseconds.
type Spread struct {
	Name   string  `json:"name"`
	Count  int     `json:"count"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

func spread(name string, v []float64) Spread {
	s := slices.Sorted(slices.Values(v))
	return Spread{Name: name, Count: len(s), Median: round3(median(s)), P99: round3(percentile99(s)), Max: round3(s[len(s)-1])}
}

// percentile99 of sorted values.
func percentile99(s []float64) float64 {
	return s[min(len(s)-1, int(math.Ceil(0.99*float64(len(s))))-1)]
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
func round1(v float64) float64   { return math.Round(v*10) / 10 }
func round3(v float64) float64   { return math.Round(v*1000) / 1000 }
