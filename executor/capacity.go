package executor

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

// capacity is a weighted semaphore over the memory limits of all workers of a node.
type capacity struct {
	limit   int64
	waiting atomic.Int32 // calls that wait for a change

	mu     sync.Mutex
	used   int64
	change chan struct{} // closed when there may be room; nil: nobody asked
}

// changed returns a channel that is closed when there may be more room.
func (c *capacity) changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.change == nil {
		c.change = make(chan struct{})
	}
	return c.change
}

// tell wakes the calls that wait for room.
func (c *capacity) tell() {
	if c.waiting.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.change != nil {
		close(c.change)
		c.change = nil
	}
}

// reserve reserves n bytes. It reports false when they do not fit.
func (c *capacity) reserve(n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used+n > c.limit {
		return false
	}
	c.used += n
	return true
}

func (c *capacity) release(n int64) {
	c.mu.Lock()
	c.used -= n
	c.mu.Unlock()
	c.tell()
}

const (
	// evictTimeout bounds the wait for an evicted process to be gone.
	evictTimeout = 2 * time.Second
	// maxWaiting bounds the apps that wait for the memory of their first worker; those
	// beyond are refused at once.
	maxWaiting = 512
)

// reserve reserves n bytes of the node's capacity. To make room it ends idle workers, the
// least recently used first. When all are busy it waits a while for one to become idle:
// of many apps that are called at once, those that come last are a little late.
func (e *Executor) reserve(n int64, wait time.Duration) error {
	if n > e.capacity.limit {
		return e.noMemory(n)
	}
	defer e.capacity.waiting.Add(-1)
	if e.capacity.waiting.Add(1) > maxWaiting {
		wait = 0
	}
	late, patience := time.NewTimer(wait), time.NewTimer(wait+evictTimeout)
	defer late.Stop()
	defer patience.Stop()
	for {
		changed := e.capacity.changed()
		if e.capacity.reserve(n) {
			return nil
		}
		victim := e.idlest()
		if victim == nil {
			select {
			case <-changed:
				continue
			case <-late.C:
				return e.noMemory(n)
			}
		}
		if victim.overran.Load() {
			victim.kill(causeTimeout)
		} else {
			victim.killIfIdle(causeEvicted) // nothing, if it ends already or got a call meanwhile
		}
		if !victim.dead.Load() {
			continue
		}
		select {
		case <-victim.ended:
		case <-patience.C:
			return e.noMemory(n)
		}
	}
}

// freshFor is how long a worker that was started for a call is not evicted before the
// call has come.
const freshFor = int64(100 * time.Millisecond)

// idlest returns a worker whose memory is free soon: a worker that is ending, or else
// the one that was idle the longest, that is, nobody waited for a call in it, or else
// one that overran. Nil: every worker is busy.
func (e *Executor) idlest() *worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	var oldest, overran *worker
	for w := range e.workers {
		if w.dead.Load() {
			return w
		}
		if w.overran.Load() {
			overran = w
		}
		fresh := !w.warm.Load() && e.now() < w.last.Load()+freshFor
		if w.pool == nil || !w.open.Load() || w.awaited() > 0 || fresh {
			continue
		}
		if oldest == nil || w.last.Load() < oldest.last.Load() {
			oldest = w
		}
	}
	if oldest == nil {
		return overran
	}
	return oldest
}

func (e *Executor) noMemory(n int64) error {
	return &picloud.Error{
		Code: picloud.CodeNoMemory, RetryAfter: time.Second,
		Detail: "an executor needs " + picloud.Size(n).String() + " of the " + picloud.Size(e.capacity.limit).String() + " that all executors of this node may have",
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
