package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// target is one row of the throughput comparison.
type target struct{ name, url string }

var (
	requestsLine = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	latencyLine  = regexp.MustCompile(`(50|99)%\s+([0-9.]+)(us|ms|s)`)
	errorsLine   = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)`)
)

// throughput runs the targets one after the other, round after round, so that
// a slow minute of the machine falls on all of them.
func (r *Report) throughput(ctx context.Context, p plan, targets []target) error {
	results := map[string][]wrkResult{}
	for round := range p.rounds + 1 {
		for _, t := range targets {
			got, err := wrk(ctx, t.url, p)
			if err != nil {
				return fmt.Errorf("measure %s: %w", t.name, err)
			}
			if round > 0 { // the first one warms up
				results[t.name] = append(results[t.name], got)
			}
		}
	}
	for i, t := range targets {
		row := Throughput{Name: t.name}
		for j, got := range results[t.name] {
			row.Rounds = append(row.Rounds, got.perSecond)
			row.p50s = append(row.p50s, got.p50)
			row.p99s = append(row.p99s, got.p99)
			row.toStock = append(row.toStock, got.perSecond/results[targets[0].name][j].perSecond)
			row.toOurs = append(row.toOurs, got.perSecond/results[targets[1].name][j].perSecond)
		}
		row.Median = round1(median(row.Rounds))
		row.P50ms, row.P99ms = round3(median(row.p50s)), round3(median(row.p99s))
		row.RatioToStock = round3(median(row.toStock))
		if i > 0 {
			row.RatioToOurs = round3(median(row.toOurs))
		}
		r.Throughput = append(r.Throughput, row)
	}
	return nil
}

type wrkResult struct{ perSecond, p50, p99 float64 } // 1/s, ms, ms

func wrk(ctx context.Context, url string, p plan) (wrkResult, error) {
	out, err := exec.CommandContext(ctx, "wrk", "--latency", "-t", "1", "-c", strconv.Itoa(p.connections),
		"-d", strconv.Itoa(int(p.duration.Seconds()))+"s", url).CombinedOutput()
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if bad := errorsLine.FindString(string(out)); bad != "" {
		return wrkResult{}, fmt.Errorf("wrk: %s", bad)
	}
	var res wrkResult
	m := requestsLine.FindSubmatch(out)
	if m == nil {
		return res, fmt.Errorf("wrk: no rate in its output: %s", out)
	}
	if res.perSecond, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		return res, err
	}
	for _, m := range latencyLine.FindAllSubmatch(out, -1) {
		v, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return res, err
		}
		v *= map[string]float64{"us": 0.001, "ms": 1, "s": 1000}[string(m[3])]
		if string(m[1]) == "50" {
			res.p50 = v
		} else {
			res.p99 = v
		}
	}
	return res, nil
}

// coldStarts calls apps that have no executor yet.
func (r *Report) coldStarts(ctx context.Context, n *node, apps int) error {
	for i := range apps {
		if err := n.deploy(ctx, fmt.Sprintf("cold-%d", i), "hello", helloSource); err != nil {
			return err
		}
	}
	var times []float64
	for i := range apps {
		url := fmt.Sprintf("%s/fn/cold-%d/hello", n.functions, i)
		begin := time.Now()
		status, _, err := get(ctx, url)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("cold start of %s: status %d: %w", url, status, err)
		}
		times = append(times, ms(time.Since(begin)))
	}
	r.ColdStart = spread(times)
	r.Memory = append(r.Memory, n.workers(fmt.Sprintf("%d idle executors together", apps+1))...)
	return nil
}

// deployTimes measures from the beginning of a deploy to the end of the first
// request that the new version answered.
func (r *Report) deployTimes(ctx context.Context, n *node, count int) error {
	var times []float64
	for i := range count {
		want := fmt.Sprintf("version %d", i)
		begin := time.Now()
		if err := n.deploy(ctx, "default", "live", fmt.Sprintf("function handle(req) { return %q }", want)); err != nil {
			return err
		}
		status, body, err := get(ctx, n.functions+"/fn/default/live")
		if err != nil || status != http.StatusOK || body != want {
			return fmt.Errorf("after a deploy that every node acknowledged: status %d, body %q, want %q: %w", status, body, want, err)
		}
		times = append(times, ms(time.Since(begin)))
	}
	r.Deploy = spread(times)
	return nil
}

// Spread summarizes times in milliseconds.
type Spread struct {
	Count  int     `json:"count"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

func spread(v []float64) Spread {
	s := slices.Sorted(slices.Values(v))
	return Spread{
		Count: len(s), Median: round3(median(s)), Max: round3(s[len(s)-1]),
		P99: round3(s[min(len(s)-1, int(math.Ceil(0.99*float64(len(s))))-1)]),
	}
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
