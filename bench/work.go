package main

import (
	"context"
	"fmt"
	"sync"
)

// The sources of functions that do work. The one that computes takes about a
// millisecond.
const (
	computeSource = `function fib(n) { return if (n < 2) { n } else { fib(n - 1) + fib(n - 2) } }
function handle(req) { return {fib: fib(17)} }
`
	kvGetSource  = `function handle(req) { return {value: kv.get("greeting", "none")} }`
	kvSetSource  = `function handle(req) { kv.set("greeting", {hello: "Ada"}); return {ok: true} }`
	kvIncrSource = `function handle(req) { return {count: kv.incr("counter")} }`
)

// work measures functions that do something: compute, and use the key-value
// store; and four hot apps at once.
func (r *Report) work(ctx context.Context, l *lab) error {
	rows := []*row{
		{name: "respond, our binary", load: load{l.ours.url, connections, 0}},
		{name: "hello function", load: load{l.hello.functions + helloCall, connections, 0}, node: l.hello},
	}
	for _, f := range []struct{ name, label, source string }{
		{"kv-set", "kv.set of one key", kvSetSource},
		{"kv-get", "kv.get", kvGetSource},
		{"kv-incr", "kv.incr of one key", kvIncrSource},
		{"compute", "compute: fib(17)", computeSource},
	} {
		if err := l.hello.deploy(ctx, "default", f.name, f.source); err != nil {
			return err
		}
		rows = append(rows, &row{name: f.label, load: load{l.hello.functions + "/fn/default/" + f.name, connections, 0}, node: l.hello})
	}
	if err := l.compare(ctx, rows); err != nil {
		return err
	}
	for _, row := range rows[2:] {
		r.Work = append(r.Work, row.summary(nil, rows[0]))
	}
	hot, err := l.hotApps(ctx, rows[1])
	if err != nil {
		return err
	}
	r.Work = append(r.Work, hot.summary(nil, rows[0]))
	return nil
}

// hotApps calls four apps at once, with a quarter of the connections each.
func (l *lab) hotApps(ctx context.Context, hello *row) (*row, error) {
	const apps = 4
	out := &row{name: fmt.Sprintf("hello in %d apps at once", apps), load: hello.load, node: l.hello}
	for i := range apps {
		if err := l.hello.deploy(ctx, fmt.Sprintf("hot-%d", i), "hello", helloSource); err != nil {
			return nil, err
		}
	}
	for round := range l.plan.rounds + 1 {
		var wg sync.WaitGroup
		var rates [apps]rate
		var errs [apps]error
		for i := range apps {
			wg.Go(func() {
				to := load{fmt.Sprintf("%s/fn/hot-%d/hello?name=Ada", l.hello.functions, i), connections / apps, 0}
				rates[i], errs[i] = l.wrk(ctx, to, l.plan.duration)
			})
		}
		wg.Wait()
		sum := rate{}
		for i := range apps {
			if errs[i] != nil {
				return nil, errs[i]
			}
			sum.perSecond += rates[i].perSecond
			sum.p50, sum.p99 = max(sum.p50, rates[i].p50), max(sum.p99, rates[i].p99)
		}
		if round > 0 {
			out.rates = append(out.rates, sum)
		}
	}
	return out, nil
}
