package executor

import (
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// capacity is a weighted semaphore over the memory limits of all workers of a node.
type capacity struct {
	limit int64

	mu   sync.Mutex
	used int64
}

// reserve reserves n bytes. It reports false when they do not fit.
func (b *capacity) reserve(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.limit {
		return false
	}
	b.used += n
	return true
}

func (b *capacity) release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// evictTimeout bounds the wait for an evicted process to be gone.
const evictTimeout = 2 * time.Second

// reserve reserves n bytes of the budget. To make room it ends idle workers, the
// least recently used first.
func (e *Executor) reserve(n int64) error {
	patience := time.NewTimer(evictTimeout)
	defer patience.Stop()
	for !e.budget.reserve(n) {
		victim := e.idlest()
		if victim == nil {
			return e.noMemory(n)
		}
		victim.killIfIdle(causeEvicted) // nothing, if it ends already or got a call meanwhile
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

// idlest returns a worker whose memory is free soon: a worker that is ending, or else
// the one that was idle the longest. Nil: every worker is busy.
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

// noRoom is the error of a call whose answer the agent has no memory for.
func (e *Executor) noRoom(n int64) error {
	return &picloud.Error{
		Code: picloud.CodeOverload, RetryAfter: time.Second,
		Detail: "the function ran, but there is no room for its answer of " + picloud.Size(n).String() +
			": other calls fill the " + picloud.Size(e.opts.Memory.Limit()).String() + " that this node has for them",
	}
}
