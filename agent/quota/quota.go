// Package quota makes the limit of a function hold over all nodes of the cluster, without
// another node on the way of a call: nodes lend each other parts of it in the background.
// DESIGN.md beside this file has the protocol and what it guarantees.
package quota

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
)

// patienceOfAsk is how long one question may take. It is shorter than renew.
const patienceOfAsk = 500 * time.Millisecond

// Options are what a Quota works with. All are required.
type Options struct {
	// View returns the id of this node, and who is in the cluster.
	View func() (self string, v View)
	// Ask asks a keeper. It returns soon after ctx ends.
	Ask func(ctx context.Context, node string, q Ask) (Answer, error)
}

// Quota is this node's part of all limits that hold over nodes, and what it counts as
// their keeper. It is safe for concurrent use. The zero view is a node that is alone.
type Quota struct {
	o      Options
	boot   string
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	wake   chan struct{}
	now    func() time.Time

	changing sync.Mutex // from the look at who is there to the end of what it changes; before mu

	mu      sync.Mutex
	self    string
	view    View
	ledger  *ledger // nil: the node is alone
	holders map[picloud.RouteKey]*holder
	active  map[*holder]struct{} // those that hold something, or need it
	links   map[string]*link
	running bool // the loop
	stopped bool

	questions  prometheus.Counter
	collectors []prometheus.Collector
}

// link is the way to one keeper.
type link struct {
	seq     uint64
	busy    bool      // a question is under way
	failing time.Time // since when it does not answer; zero: it does
	failed  time.Time // the last time that it did not
}

// batch is a question to one keeper.
type batch struct {
	node    string
	local   bool // it is this node
	link    *link
	ask     Ask
	holders []*holder
	sent    time.Time
}

// New returns a Quota. It starts nothing.
func New(o Options) *Quota {
	ctx, cancel := context.WithCancel(context.Background())
	q := &Quota{
		o: o, boot: rand.Text(), ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), now: time.Now,
		holders: map[picloud.RouteKey]*holder{}, active: map[*holder]struct{}{}, links: map[string]*link{},
		questions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "picloud_limit_questions_total", Help: "Questions to other nodes about limits that hold over all nodes.",
		}),
	}
	q.collectors = []prometheus.Collector{q.questions, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "picloud_limit_functions", Help: "Functions of which this node holds or needs a part of a limit that holds over all nodes.",
	}, func() float64 {
		q.mu.Lock()
		defer q.mu.Unlock()
		return float64(len(q.active))
	})}
	return q
}

// Collectors returns the metrics, always the same ones.
func (q *Quota) Collectors() []prometheus.Collector { return q.collectors }

// Enter makes the limit of a function hold over all nodes, or changes it. The gate stays
// the same for as long as the function is not left.
func (q *Quota) Enter(key picloud.RouteKey, limit int, gate Gate) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.holders[key]
	if h != nil && h.gate == gate && h.limit == limit {
		return
	}
	now := q.now()
	next := &holder{key: key, limit: limit, gate: gate, used: now}
	if h != nil {
		next.granted, next.until, next.failing = min(h.granted, limit), h.until, h.failing
		delete(q.active, h)
	}
	q.holders[key] = next
	gate.Watch(func() { q.needs(next) })
	q.adapt(next, now)
}

// Leave ends what Enter began. The gate is left as it is, and nothing changes it afterwards.
func (q *Quota) Leave(key picloud.RouteKey) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if h := q.holders[key]; h != nil {
		delete(q.holders, key)
		delete(q.active, h)
	}
}

// Changed looks who is in the cluster. It is to be called when that may have changed.
func (q *Quota) Changed() {
	q.changing.Lock() // else an older view could be stored after a newer one, and stay
	defer q.changing.Unlock()
	self, v := q.o.View()
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	if q.self == self && q.view.equal(v) {
		return
	}
	was := q.view.alone()
	q.self, q.view = self, v
	switch {
	case v.alone():
		q.ledger = nil
	case q.ledger == nil:
		q.ledger = newLedger(self, v, now)
	default:
		q.ledger.look(v, now)
	}
	for node := range q.links {
		if !slices.Contains(v.Members, node) {
			delete(q.links, node)
		}
	}
	if was != v.alone() {
		for _, h := range q.holders {
			q.adapt(h, now)
		}
	}
}

// adapt gives a function the whole limit if the node is alone, and else what it holds. The
// caller holds mu.
func (q *Quota) adapt(h *holder, now time.Time) {
	if q.view.alone() {
		delete(q.active, h)
		h.active = false
		h.set(h.limit, time.Time{})
		return
	}
	if h.until.IsZero() {
		h.granted = 0
	}
	h.set(h.granted, h.until)
	running, waiting, _ := h.gate.Demand()
	if running+waiting+h.granted > 0 {
		q.activate(h, now)
	}
}

// needs is called when a call finds no place.
func (q *Quota) needs(h *holder) {
	if !h.short.CompareAndSwap(false, true) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.holders[h.key] != h || q.view.alone() {
		h.short.Store(false)
		return
	}
	now := q.now()
	if !h.active {
		h.used = now
		q.activate(h, now)
		return
	}
	if !h.asking {
		h.hasten(now)
		q.rouse()
	}
}

// activate makes the loop look at a function. The caller holds mu.
func (q *Quota) activate(h *holder, now time.Time) {
	q.active[h], h.active, h.next = struct{}{}, true, now
	if !q.running && !q.stopped {
		q.running = true
		q.tasks.Go(q.loop)
	}
	q.rouse()
}

func (q *Quota) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Answer answers another node.
func (q *Quota) Answer(node string, a Ask) Answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ledger == nil {
		return Answer{Shares: slices.Repeat([]Share{{Elsewhere: true}}, min(len(a.Items), MaxItems))}
	}
	return q.ledger.answer(node, a, q.limit, q.now())
}

// limit is what this node knows of a function's limit. The caller holds mu.
func (q *Quota) limit(key picloud.RouteKey) (int, bool) {
	if h := q.holders[key]; h != nil {
		return h.limit, true
	}
	return 0, false
}

// Stop ends all that is under way. What the node holds runs out.
func (q *Quota) Stop() {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	q.cancel()
	q.tasks.Wait()
}

// loop asks for functions as long as there are active ones.
func (q *Quota) loop() {
	for {
		batches, wait, more := q.due(q.now())
		if !more || q.ctx.Err() != nil {
			return
		}
		for _, b := range batches {
			if b.local {
				q.taken(b, q.Answer(b.node, b.ask), nil, q.now())
				continue
			}
			q.questions.Inc()
			q.tasks.Go(func() {
				ctx, cancel := context.WithTimeout(q.ctx, patienceOfAsk)
				defer cancel()
				answer, err := q.o.Ask(ctx, b.node, b.ask)
				q.taken(b, answer, err, q.now())
				q.rouse()
			})
		}
		if len(batches) > 0 {
			continue // those that were answered here have a new time
		}
		timer := time.NewTimer(wait)
		select {
		case <-q.wake:
		case <-timer.C:
		case <-q.ctx.Done():
		}
		timer.Stop()
	}
}

// due returns the questions that are due, and else when the next one is. It reports false,
// and that the loop ends, if there is nothing to ask for any more.
func (q *Quota) due(now time.Time) (batches []*batch, wait time.Duration, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.active) == 0 {
		q.running = false
		return nil, 0, false
	}
	wait = renew
	to := map[string]*batch{}
	for h := range q.active {
		if h.asking {
			continue
		}
		h.lapse(now)
		if left := h.next.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		node := q.view.keeper(h.key)
		b := to[node]
		if b == nil {
			l := q.links[node]
			if l == nil {
				l = &link{}
				q.links[node] = l
			}
			if l.busy {
				continue // its answer wakes the loop
			}
			b = &batch{node: node, local: node == q.self, link: l, ask: Ask{Boot: q.boot, Seq: l.seq + 1}, sent: now}
			to[node] = b
		}
		if len(b.ask.Items) == MaxItems {
			wait = 0
			continue
		}
		h.asking, h.asked = true, now
		b.ask.Items, b.holders = append(b.ask.Items, h.item(now)), append(b.holders, h)
	}
	for _, b := range to {
		b.link.seq, b.link.busy = b.ask.Seq, true
		batches = append(batches, b)
	}
	return batches, wait, true
}

// taken takes the answer to a question, or why there is none.
func (q *Quota) taken(b *batch, a Answer, err error, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := b.link
	l.busy = false
	answered := err == nil && len(a.Shares) == len(b.holders)
	switch {
	case answered:
		l.failing = time.Time{}
	case l.failing.IsZero() || now.Sub(l.failed) > 3*retry: // nobody has tried for some time
		l.failing, l.failed = now, now
	default:
		l.failed = now
	}
	for i, h := range b.holders {
		h.asking = false
		item := b.ask.Items[i]
		switch {
		case q.holders[h.key] != h || q.view.alone():
			delete(q.active, h)
			h.active = false
		case item.Holds == 0 && item.Wants == 0 && !h.short.Load():
			delete(q.active, h) // all is given back
			h.active, h.failing = false, time.Time{}
		case answered && !a.Shares[i].Elsewhere:
			h.take(item, a.Shares[i], b.sent, now)
		default:
			h.fail(q.view, q.self, l.failing, now)
		}
	}
}
