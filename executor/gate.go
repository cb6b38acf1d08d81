package executor

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// gate admits the calls of one function. It is a counting semaphore with a bounded
// first-in-first-out queue: limit calls run, room calls wait in order, and every
// further call is refused at once, which gives callers backpressure.
type gate struct {
	limit   int // running at once
	room    int // waiting at once
	timeout time.Duration

	mu      sync.Mutex
	running int
	queue   list.List   // of *waiter, oldest first
	timer   *time.Timer // for the oldest waiter; nil until a call waits
}

type waiter struct {
	since   time.Time
	granted chan bool // takes one value: true with a place, false when it took too long
}

func (g *gate) init(limit, room int, timeout time.Duration) {
	g.limit, g.room, g.timeout = limit, room, timeout
}

// acquire gets a place, and waits for one when all are in use.
func (g *gate) acquire(ctx context.Context) error {
	g.mu.Lock()
	if g.running < g.limit && g.queue.Len() == 0 {
		g.running++
		g.mu.Unlock()
		return nil
	}
	if g.queue.Len() >= g.room {
		g.mu.Unlock()
		return g.full(fmt.Sprintf("%d calls run and %d wait", g.limit, g.room))
	}
	w := &waiter{since: time.Now(), granted: make(chan bool, 1)}
	at := g.queue.PushBack(w)
	if g.queue.Len() == 1 {
		g.schedule(g.timeout)
	}
	g.mu.Unlock()

	select {
	case ok := <-w.granted:
		if !ok {
			return g.full(fmt.Sprintf("waited %s for one of %d places", g.timeout, g.limit))
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

// release gives a place to the oldest waiter, or back to the gate. It reports whether
// no call runs any more.
func (g *gate) release() (idle bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w := g.pop(); w != nil {
		w.granted <- true
		return false
	}
	g.running--
	return g.running == 0
}

func (g *gate) pop() *waiter {
	first := g.queue.Front()
	if first == nil {
		return nil
	}
	return g.queue.Remove(first).(*waiter)
}

// idle reports whether no call runs or waits.
func (g *gate) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running == 0
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
