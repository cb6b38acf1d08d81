package worker

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// trimAfter is for how long a worker must be without work before it gives memory back
// to the system. A worker collects seldom, which makes a busy one fast; an idle one
// should be small.
const trimAfter = time.Second

// tick is the longest sleep of the runtime's monitor during a busy time.
const tick = 20 * time.Millisecond

// trimmer notices when a busy time begins and when it is over.
//
// At the beginning the trimmer wakes the runtime's monitor. The monitor takes the
// processor from a goroutine that holds it too long, so that the other goroutines, the
// reader among them, go on beside a native function that spins. When nothing runs, the
// monitor sleeps until a timer is due or a goroutine enters a system call. The
// scheduler does not see the system calls of wire.Socket, so the monitor would sleep
// for up to a minute. To wake it for each call would cost much; while calls come
// often, a timer that is due soon has the same effect.
//
// At the end the trimmer gives memory back once, and sets no further timer: an idle
// worker does nothing.
type trimmer struct {
	served atomic.Uint64 // pieces of work so far
	armed  atomic.Bool   // the timer fires within a tick

	free func() // debug.FreeOSMemory, outside of tests
	wake func() // wakeMonitor, outside of tests

	mu      sync.Mutex
	timer   *time.Timer
	seen    uint64 // served when the timer last fired
	stopped bool
}

// wakeMonitor enters a system call that does nothing.
func wakeMonitor() { _, _ = syscall.Read(-1, nil) }

// active notes that there is something to do: a call, a load, an answer that a
// call waited for.
func (t *trimmer) active() {
	t.served.Add(1)
	if t.armed.Load() || t.armed.Swap(true) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
		return
	case t.timer == nil:
		t.timer = time.AfterFunc(tick, t.fire)
	default:
		t.timer.Reset(tick)
	}
	t.wake()
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
	if t.armed.Load() && t.served.Load() == t.seen {
		t.armed.Store(false)
		if t.served.Load() == t.seen {
			t.timer.Reset(trimAfter - tick)
			return false
		}
		t.armed.Store(true) // new work came just now and saw the timer armed
	}
	if served := t.served.Load(); served != t.seen {
		t.seen = served
		t.armed.Store(true)
		t.timer.Reset(tick)
		return false
	}
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
