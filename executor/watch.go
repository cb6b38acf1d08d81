package executor

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// never is a time in the infinite future.
const never = math.MaxInt64

// scanPause is the shortest time between two scans, and so the most that a
// deadline is noticed late.
const scanPause = int64(4 * time.Millisecond)

// watch is the one timer of an executor. It is armed for the earliest deadline
// that was announced, scans everything then, and is armed again for the
// earliest of what is left. Timers are coalesced: a call that ends in time costs no
// timer operation, and an idle executor has no timer at all.
type watch struct {
	now  func() int64
	scan func(now int64) (next int64)

	armed atomic.Int64 // when the timer fires; never: it is off

	mu      sync.Mutex // guards the timer
	timer   *time.Timer
	last    int64 // the last scan
	stopped bool
	firing  sync.WaitGroup
}

func newWatch(now func() int64, scan func(int64) int64) *watch {
	w := &watch{now: now, scan: scan, last: -scanPause}
	w.armed.Store(never)
	return w
}

// arm announces a deadline. The caller first makes the thing that has the deadline
// visible to scan.
func (w *watch) arm(at int64) {
	if at >= w.armed.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if at >= w.armed.Load() || w.stopped {
		return
	}
	w.armed.Store(at)
	pause := time.Duration(max(at, w.last+scanPause) - w.now())
	if w.timer == nil {
		w.timer = time.AfterFunc(max(pause, 0), w.fire)
		return
	}
	w.timer.Reset(max(pause, 0))
}

func (w *watch) fire() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	w.firing.Add(1)
	defer w.firing.Done()
	w.last = w.now()
	// Mark the timer as off before the scan. A deadline that is announced after the
	// scan passed its owner then arms the timer again.
	w.armed.Store(never)
	w.mu.Unlock()
	w.arm(w.scan(w.now()))
}

// stop ends the watch and waits for a scan that is under way.
func (w *watch) stop() {
	w.mu.Lock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.firing.Wait()
}
