package executor

import (
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// budget is the memory that the workers of a node may have together.
type budget struct {
	limit int64

	mu   sync.Mutex
	used int64
}

// take reserves n bytes, or reports that they do not fit.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// evictTimeout bounds the wait for an evicted process to be gone.
const evictTimeout = 2 * time.Second

// reserve takes n bytes of the budget, and ends idle workers for it, the one
// that was idle the longest first.
func (e *Executor) reserve(n int64) error {
	patience := time.NewTimer(evictTimeout)
	defer patience.Stop()
	for !e.budget.take(n) {
		victim := e.idlest()
		if victim == nil {
			return e.noMemory(n)
		}
		victim.retire(causeEvicted) // unless it ends already, or got a call meanwhile
		if !victim.dead.Load() {
			continue
		}
		select {
		case <-victim.ended:
		case <-patience.C:
			return e.noMemory(n)
		}
	}
	return nil
}

// idlest returns a worker whose memory is free soon: one that ends already, else
// the one that is idle the longest. Nil: there is none.
func (e *Executor) idlest() *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	var oldest *worker
	for w := range e.workers {
		if w.dead.Load() {
			return w
		}
		if w.pool == nil || !w.open.Load() || w.busy.Load() > 0 {
			continue
		}
		if oldest == nil || w.last.Load() < oldest.last.Load() {
			oldest = w
		}
	}
	return oldest
}

func (e *Executor) noMemory(n int64) error {
	return &picloud.Error{
		Code: picloud.CodeNoMemory, RetryAfter: time.Second,
		Detail: "an executor needs " + picloud.Size(n).String() + " of the " + picloud.Size(e.budget.limit).String() + " that all executors of this node may have",
		Hint:   "lower the memory limits of functions, or give the node more memory",
	}
}
