package main

import (
	"context"
	"fmt"
)

// Throughput is one row of a comparison. Ratios are medians of the ratios of
// each round, which cancels what the machine did meanwhile.
type Throughput struct {
	Name         string    `json:"name"`
	Connections  int       `json:"connections"`
	Median       float64   `json:"median_per_second"`
	RatioToStock float64   `json:"ratio_to_stock,omitempty"`
	RatioToOurs  float64   `json:"ratio_to_our_respond,omitempty"`
	P50ms        float64   `json:"p50_ms"`
	P99ms        float64   `json:"p99_ms"`
	Rounds       []float64 `json:"rounds"`
	// CPU is the time that each kind of process took for one call, in
	// microseconds of one core.
	CPU map[string]float64 `json:"cpu_us_per_call,omitempty"`
}

// row is one load of a comparison and what came of it.
type row struct {
	name  string
	load  load
	node  *node // whose processes are charged; nil: nobody's
	rates []rate
	cpu   map[string][]float64
}

// throughput compares a function with what answers a constant, at 1, 32 and 256
// connections.
func (r *Report) throughput(ctx context.Context, l *lab) error {
	for _, n := range []int{connections, 1, 256} {
		rows := []*row{
			{name: "stock Caddy respond", load: load{l.stock.url, n, 0}},
			{name: "respond, our binary", load: load{l.ours.url, n, 0}},
			{name: "frames alone (worker does nothing)", load: load{l.null.functions + helloCall, n, 0}, node: l.null},
			{name: "hello function", load: load{l.hello.functions + helloCall, n, 0}, node: l.hello},
		}
		if err := l.compare(ctx, rows); err != nil {
			return err
		}
		for _, row := range rows {
			r.Throughput = append(r.Throughput, row.summary(rows[0], rows[1]))
		}
		if n == connections {
			r.Memory = append(r.Memory, l.hello.memory("node, after the load"))
			r.Memory = append(r.Memory, l.hello.workers("executors of the hello app"))
		}
	}
	return nil
}

// compare puts the loads on one after the other, round after round, so that a
// slow minute of the machine falls on all of them.
func (l *lab) compare(ctx context.Context, rows []*row) error {
	for round := range l.plan.rounds + 1 {
		for _, row := range rows {
			before := row.node.cpu()
			got, err := l.wrk(ctx, row.load, l.plan.duration)
			if err != nil {
				return fmt.Errorf("measure %s: %w", row.name, err)
			}
			if round == 0 {
				continue // it warms up
			}
			row.rates = append(row.rates, got)
			calls := got.perSecond * l.plan.duration.Seconds()
			for kind, used := range row.node.cpu() {
				if row.cpu == nil {
					row.cpu = map[string][]float64{}
				}
				row.cpu[kind] = append(row.cpu[kind], (used-before[kind])*1e6/calls)
			}
		}
	}
	return nil
}

// summary takes the medians. Those two rows of the same comparison are its
// measure; nil: there is none.
func (row *row) summary(stock, ours *row) Throughput {
	out := Throughput{Name: row.name, Connections: row.load.connections}
	var p50s, p99s, toStock, toOurs []float64
	for i, got := range row.rates {
		out.Rounds = append(out.Rounds, got.perSecond)
		p50s, p99s = append(p50s, got.p50), append(p99s, got.p99)
		if stock != nil {
			toStock = append(toStock, got.perSecond/stock.rates[i].perSecond)
		}
		if ours != nil {
			toOurs = append(toOurs, got.perSecond/ours.rates[i].perSecond)
		}
	}
	out.Median = round1(median(out.Rounds))
	out.P50ms, out.P99ms = round3(median(p50s)), round3(median(p99s))
	if stock != nil {
		out.RatioToStock = round3(median(toStock))
	}
	if ours != nil && row != stock {
		out.RatioToOurs = round3(median(toOurs))
	}
	for kind, used := range row.cpu {
		if out.CPU == nil {
			out.CPU = map[string]float64{}
		}
		out.CPU[kind] = round1(median(used))
	}
	return out
}
