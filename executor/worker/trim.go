package worker

import (
	"sync"
	"sync/atomic"
	"time"
)

// trimAfter is how long a worker must have had no call before it gives its
// memory back to the system. A worker collects seldom, so that a busy one is
// fast; an idle one should be small.
const trimAfter = time.Second

// trimmer gives memory back once after each busy time. A timer runs only from
// the first call of a busy time to its end: an idle worker does nothing.
type trimmer struct {
	served atomic.Uint64 // calls so far
	armed  atomic.Bool

	free func() // debug.FreeOSMemory, outside of tests

	mu      sync.Mutex
	timer   *time.Timer
	seen    uint64 // served when the timer last fired
	stopped bool
}

// active notes that a call began.
func (t *trimmer) active() {
	t.served.Add(1)
	if t.armed.Load() || t.armed.Swap(true) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
	case t.timer == nil:
		t.timer = time.AfterFunc(trimAfter, t.fire)
	default:
		t.timer.Reset(trimAfter)
	}
}

func (t *trimmer) fire() {
	if t.idle() {
		t.free()
	}
}

// idle reports whether the busy time is over; else it arms the timer again.
func (t *trimmer) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return false
	}
	if served := t.served.Load(); served != t.seen {
		t.seen = served
		t.timer.Reset(trimAfter)
		return false
	}
	t.armed.Store(false)
	return true
}

func (t *trimmer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
