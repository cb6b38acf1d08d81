package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Crowd is a node with many functions of which few are called.
type Crowd struct {
	Deployed   int     `json:"deployed"`
	Called     int     `json:"called"`
	Calls      int     `json:"calls"`
	Median     float64 `json:"median_ms"`
	P99        float64 `json:"p99_ms"`
	Workers    int     `json:"executors"` // alive at the end of the calls
	WorkersPSS float64 `json:"executors_pss_mb"`
	NodePSS    float64 `json:"node_pss_mb"`
	Left       int     `json:"executors_after_idle_timeout"`
	IdleCPU    float64 `json:"idle_cpu_percent_of_a_core"` // of the node, afterwards
}

// crowdCalls is how many calls the active functions get together.
const crowdCalls = 5000

// crowd deploys many functions, an app each, calls some of them in random
// order, and then leaves the node alone.
func (r *Report) crowd(ctx context.Context, l *lab) error {
	n, err := l.servers.node(ctx, l.dir, "crowd", "bin/picloud-executor", "PICLOUD_EXECUTOR_IDLE="+crowdIdle.String())
	if err != nil {
		return err
	}
	for i := range l.plan.crowd {
		if err := n.deploy(ctx, fmt.Sprintf("app-%d", i), "hello", helloSource); err != nil {
			return err
		}
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same calls in every run
	active := random.Perm(l.plan.crowd)[:l.plan.active]
	var times []float64
	for range crowdCalls {
		begin := time.Now()
		if _, err := get(ctx, fmt.Sprintf("%s/fn/app-%d/hello", n.functions, active[random.IntN(len(active))])); err != nil {
			return fmt.Errorf("call: %w", err)
		}
		times = append(times, ms(time.Since(begin)))
	}
	workers, self := n.workers("executors"), n.memory("node")
	calls := spread("calls", times)
	if left := n.awaitIdle(ctx); left > 0 {
		return fmt.Errorf("%d executors are left long after the idle timeout", left)
	}
	before := n.cpu()["node"]
	pause(ctx, l.plan.idle)
	used, left := n.cpu()["node"]-before, len(n.executors())
	r.Crowd = &Crowd{
		Deployed: l.plan.crowd, Called: len(active), Calls: crowdCalls, Median: calls.Median, P99: calls.P99,
		Workers: workers.Processes, WorkersPSS: workers.PSS, NodePSS: self.PSS, Left: left,
		IdleCPU: round3(100 * used / l.plan.idle.Seconds()),
	}
	return nil
}

// crowdIdle is the idle timeout of the crowd's executors.
const crowdIdle = 20 * time.Second

// awaitIdle waits until no executor is left, and returns how many are.
func (n *node) awaitIdle(ctx context.Context) int {
	until := time.Now().Add(2*crowdIdle + 10*time.Second)
	for {
		left := n.workers("").Processes
		if left == 0 || time.Now().After(until) || ctx.Err() != nil {
			return left
		}
		pause(ctx, 200*time.Millisecond)
	}
}
