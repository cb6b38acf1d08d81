package executor

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

const (
	// evictTimeout bounds the wait for evicted processes to be gone.
	evictTimeout = 2 * time.Second
	// maxWaiting bounds the claims that wait for memory. Those beyond are refused at once.
	maxWaiting = 512
)

// errNoRoom is the error of a claim that got no memory in time.
var errNoRoom = errors.New("no memory is free for another executor")

// capacity is a weighted semaphore over the memory limits of all workers of a node.
// Claims that do not fit wait in a bounded queue, first in, first out: what becomes free
// is kept for the first claim until that has enough, so that a large one is not overtaken
// for ever. Nobody's patience is longer than that of those who come later, so a large
// claim that gets nothing is gone before those behind it give up.
type capacity struct {
	limit   int64
	waiting atomic.Int32 // claims in the queue

	mu    sync.Mutex
	used  int64
	queue list.List // of *claim, the oldest first
}

// claim is a wish for n bytes.
type claim struct {
	n       int64
	granted chan struct{} // closed when the bytes are taken
	look    chan struct{} // has a value when the first claim may make room; has room for one
	at      *list.Element
}

// maker makes room for the first claim, which lacks some bytes: it ends workers that
// nobody needs. It returns how many bytes are becoming free, and when a further look is
// worth while; 0: only when something changes. When it may try, it makes what room there
// is, else only if that is enough.
type maker func(lacks func() int64, try bool) (coming int64, again time.Duration)

// enter takes n bytes, or puts a claim into the queue. The claim is nil when the bytes
// are taken. An impatient one is refused when others wait already.
func (c *capacity) enter(n int64, impatient bool) (*claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.queue.Len()
	switch {
	case n > c.limit:
		return nil, errNoRoom
	case waiting == 0 && c.used+n <= c.limit:
		c.used += n
		return nil, nil
	case waiting >= maxWaiting, impatient && waiting > 0:
		return nil, errNoRoom
	}
	cl := &claim{n: n, granted: make(chan struct{}), look: make(chan struct{}, 1)}
	cl.at = c.queue.PushBack(cl)
	c.waiting.Add(1)
	return cl, nil
}

// grant gives the first claims their bytes while these fit, and lets the one that is
// first then look for room. The caller holds mu.
func (c *capacity) grant() {
	for at := c.queue.Front(); at != nil; at = c.queue.Front() {
		cl := at.Value.(*claim)
		if c.used+cl.n > c.limit {
			cl.wake()
			return
		}
		c.used += cl.n
		c.remove(cl)
		close(cl.granted)
	}
}

func (c *capacity) remove(cl *claim) {
	c.queue.Remove(cl.at)
	c.waiting.Add(-1)
}

// leave takes a claim out of the queue. It reports true when that has its bytes already.
func (c *capacity) leave(cl *claim) (granted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-cl.granted:
		return true
	default:
	}
	c.remove(cl)
	c.grant() // whoever is next may need less
	return false
}

// lacks returns how many bytes a claim lacks that is the first; 0: it has them, or
// others come first.
func (c *capacity) lacks(cl *claim) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue.Front() != cl.at {
		return 0
	}
	return c.used + cl.n - c.limit
}

// release returns n bytes.
func (c *capacity) release(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used -= n
	c.grant()
}

// tell lets the first claim look for room: a worker became idle. It costs one atomic
// load when nobody waits. Whoever calls it has made the change visible before.
func (c *capacity) tell() {
	if c.waiting.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.queue.Front(); first != nil {
		first.Value.(*claim).wake()
	}
}

func (cl *claim) wake() {
	select {
	case cl.look <- struct{}{}:
	default:
	}
}

// reserve takes n bytes, which release returns. It waits for its turn until patience or
// ctx ends, and evictTimeout longer for what is becoming free by then. Without patience
// it takes what is free, or what idle workers can give. It returns errNoRoom, or the
// error of ctx.
func (c *capacity) reserve(ctx context.Context, n int64, patience time.Duration, room maker) error {
	cl, err := c.enter(n, patience == 0)
	if cl == nil {
		return err
	}
	late, again := time.NewTimer(patience), time.NewTimer(patience)
	defer late.Stop()
	defer again.Stop()
	lacks := func() int64 { return c.lacks(cl) }
	overtime, over := patience == 0, false
	if overtime {
		late.Reset(evictTimeout)
	}
	for {
		missing, coming := c.lacks(cl), int64(0)
		if missing > 0 {
			var pause time.Duration
			if coming, pause = room(lacks, !overtime); pause > 0 {
				again.Reset(pause)
			}
			missing = c.lacks(cl) // what became free meanwhile is no longer coming
		}
		if over || overtime && (missing == 0 || coming < missing) {
			if c.leave(cl) {
				return nil
			}
			return errNoRoom
		}
		select {
		case <-cl.granted:
			return nil
		case <-cl.look:
		case <-again.C:
		case <-late.C:
			over, overtime = overtime, true
			late.Reset(evictTimeout)
		case <-ctx.Done():
			if c.leave(cl) {
				c.release(n)
			}
			return context.Cause(ctx)
		}
	}
}

// reserve reserves n bytes of the node's capacity for a worker. To make room it ends idle
// workers. When all are busy it waits a while for one to become idle: of many apps that
// are called at once, those that come last are a little late.
func (e *Executor) reserve(ctx context.Context, n int64, patience time.Duration) error {
	err := e.capacity.reserve(ctx, n, patience, e.makeRoom)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return cancelled(ctx)
	}
	return e.noMemory(n)
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
