package executor

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// gate admits the calls of one function, of all its versions. It is a counting semaphore
// with a bounded first-in-first-out queue: limit calls run, room calls wait in order, and
// every further call is refused at once, which gives callers backpressure. Both bounds may
// change while calls run: growth wakes waiters, and shrinking ends no call.
type gate struct {
	timeout time.Duration

	mu      sync.Mutex
	limit   int       // running at once
	room    int       // waiting at once
	until   time.Time // the limit is 0 from then on; zero: it has no end
	short   func()    // called when a call does not find a place; nil: nobody asks
	running int
	peak    int         // the most that ran and waited since load
	queue   list.List   // of *waiter, oldest first
	timer   *time.Timer // for the oldest waiter; nil until a call waits
}

type waiter struct {
	since   time.Time
	granted chan bool // takes one value: true with a place, false when it took too long
}

func newGate(limit, room int, timeout time.Duration) *gate {
	return &gate{limit: limit, room: room, timeout: timeout}
}

// places is how many calls may run at this moment. The caller holds mu.
func (g *gate) places() int {
	if g.until.IsZero() || time.Now().Before(g.until) {
		return g.limit
	}
	return 0
}

// resize changes how many calls run at once, until a time (zero: for good).
func (g *gate) resize(limit int, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit, g.until = limit, until
	for places := g.places(); g.running < places; g.running++ {
		w := g.pop()
		if w == nil {
			return
		}
		w.granted <- true
	}
}

// widen changes how many calls wait. Those that wait already stay.
func (g *gate) widen(room int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.room = room
}

// watch makes the gate call short, which must not block, when a call does not find a
// place.
func (g *gate) watch(short func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.short = short
}

// load returns how many calls run and wait, and the most that did at once since it was
// last called.
func (g *gate) load() (running, waiting, peak int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	running, waiting, peak = g.running, g.queue.Len(), g.peak
	g.peak = running + waiting
	return running, waiting, peak
}

// occupied returns how many calls run and wait.
func (g *gate) occupied() (running, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running, g.queue.Len()
}

// acquire gets a place, and waits for one when all are in use.
func (g *gate) acquire(ctx context.Context) error {
	g.mu.Lock()
	if g.queue.Len() == 0 && g.running < g.places() {
		g.running++
		g.peak = max(g.peak, g.running)
		g.mu.Unlock()
		return nil
	}
	short := g.short
	if g.queue.Len() >= g.room {
		limit, room := g.limit, g.room
		g.mu.Unlock()
		if short != nil {
			short()
		}
		return g.full(fmt.Sprintf("%d calls run and %d wait", limit, room))
	}
	w := &waiter{since: time.Now(), granted: make(chan bool, 1)}
	at := g.queue.PushBack(w)
	if g.queue.Len() == 1 {
		g.schedule(g.timeout)
	}
	g.peak = max(g.peak, g.running+g.queue.Len())
	g.mu.Unlock()
	if short != nil {
		short()
	}

	select {
	case ok := <-w.granted:
		if !ok {
			return g.full(fmt.Sprintf("waited %s for a place", g.timeout))
		}
		if ctx.Err() != nil { // nobody waits for the call any more
			g.release()
			return cancelled(ctx)
		}
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	select {
	case ok := <-w.granted: // the decision came first: give the place to the next waiter
		g.mu.Unlock()
		if ok {
			g.release()
		}
	default:
		g.queue.Remove(at)
		g.mu.Unlock()
	}
	return cancelled(ctx)
}

// release gives a place to the oldest waiter, or back to the gate.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queue.Len() > 0 && g.running <= g.places() {
		g.pop().granted <- true
		return
	}
	g.running--
}

func (g *gate) pop() *waiter {
	first := g.queue.Front()
	if first == nil {
		return nil
	}
	return g.queue.Remove(first).(*waiter)
}

func (g *gate) schedule(pause time.Duration) {
	if g.timer == nil {
		g.timer = time.AfterFunc(pause, g.expire)
		return
	}
	g.timer.Reset(pause)
}

// expire refuses the calls that waited too long. One timer serves the whole queue.
func (g *gate) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for first := g.queue.Front(); first != nil; first = g.queue.Front() {
		left := g.timeout - time.Since(first.Value.(*waiter).since)
		if left > 0 {
			g.schedule(left)
			return
		}
		g.pop().granted <- false
	}
}

func (g *gate) full(detail string) error {
	return &picloud.Error{Code: picloud.CodeQueueFull, Detail: detail, RetryAfter: time.Second, Hint: "raise concurrency or queue, or call less often"}
}

// cancelled is the error of a call whose caller stopped waiting.
func cancelled(ctx context.Context) error {
	return &picloud.Error{Code: picloud.CodeCancelled, Err: context.Cause(ctx)}
}
