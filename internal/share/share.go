// Package share divides places among those who want them, so that one of them cannot
// shut out the others: followers of logs, calls of the control API, throw-away
// executors.
package share

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrFull is the error of whoever neither gets a place nor may wait for one.
var ErrFull = errors.New("all places are taken")

// Options say how places are divided.
type Options struct {
	// Total is how many places there are.
	Total int
	// Each is the most that one holder has. A place can have several holders, such as a
	// user and an app: Each has a number for each of them, in the order of Take.
	Each []int
	// Kept is how many of the places are for those who have none: the last free places
	// are given to first holders without a place only.
	Kept int
	// Waiting is how many of a first holder may wait at once, in Wait.
	Waiting int
	// Queue is how many of all holders may wait at once. The last quarter of them is for
	// holders of whom nobody waits. Default: as many as holders allow.
	Queue int
}

// Places is a counting semaphore whose places are divided among holders. An empty
// holder is the node itself, and not counted. It is safe for concurrent use.
type Places struct {
	o Options

	mu      sync.Mutex
	taken   int
	held    []map[string]int // by kind of holder
	waiting map[string]int   // by first holder
	queue   list.List        // of *waiter, in the order in which they came
}

type waiter struct {
	holders []string
	granted chan struct{} // closed with the place
}

// New returns places that nobody has taken.
func New(o Options) *Places {
	p := &Places{o: o, waiting: map[string]int{}}
	for range o.Each {
		p.held = append(p.held, map[string]int{})
	}
	return p
}

// Take takes a place for these holders, and returns what gives it back. It reports
// false when there is no place for them now.
func (p *Places) Take(holders ...string) (give func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fits(holders) {
		return nil, false
	}
	p.count(holders, 1)
	return p.giver(holders), true
}

// Wait takes a place as soon as there is one for these holders. Places go to those who
// came first, of those whose share has room. It returns ErrFull when as many of the
// first holder wait as may, and the cause when ctx ends.
func (p *Places) Wait(ctx context.Context, holders ...string) (give func(), err error) {
	p.mu.Lock()
	if p.fits(holders) {
		p.count(holders, 1)
		p.mu.Unlock()
		return p.giver(holders), nil
	}
	first := holders[0]
	if !p.mayWait(first) {
		p.mu.Unlock()
		return nil, ErrFull
	}
	p.waiting[first]++
	w := &waiter{holders: holders, granted: make(chan struct{})}
	at := p.queue.PushBack(w)
	p.mu.Unlock()
	select {
	case <-w.granted:
		return p.giver(holders), nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-w.granted: // the place came first: it is for the next one
		p.count(holders, -1)
		p.grant()
	default:
		p.leave(at)
	}
	return nil, context.Cause(ctx)
}

// mayWait reports whether one more of a first holder may wait. The caller holds mu.
func (p *Places) mayWait(first string) bool {
	if first == "" {
		return true
	}
	own, free := p.waiting[first], p.o.Queue-p.queue.Len()
	return own < p.o.Waiting && (p.o.Queue == 0 || free > 0 && (own == 0 || free > p.o.Queue/4))
}

// fits reports whether there is a place for these holders. The caller holds mu.
func (p *Places) fits(holders []string) bool {
	free := p.o.Total - p.taken
	if free <= 0 || free <= p.o.Kept && holders[0] != "" && p.held[0][holders[0]] > 0 {
		return false
	}
	for i, holder := range holders {
		if holder != "" && p.held[i][holder] >= p.o.Each[i] {
			return false
		}
	}
	return true
}

// count takes or gives back a place. The caller holds mu.
func (p *Places) count(holders []string, n int) {
	p.taken += n
	for i, holder := range holders {
		if p.held[i][holder] += n; p.held[i][holder] == 0 {
			delete(p.held[i], holder)
		}
	}
}

// grant gives free places to those who wait. The caller holds mu.
func (p *Places) grant() {
	for at := p.queue.Front(); at != nil && p.taken < p.o.Total; {
		w, next := at.Value.(*waiter), at.Next()
		if p.fits(w.holders) {
			p.leave(at)
			p.count(w.holders, 1)
			close(w.granted)
		}
		at = next
	}
}

// leave takes a waiter out of the queue. The caller holds mu.
func (p *Places) leave(at *list.Element) {
	first := p.queue.Remove(at).(*waiter).holders[0]
	if p.waiting[first]--; p.waiting[first] == 0 {
		delete(p.waiting, first)
	}
}

// giver returns what gives a place back, once.
func (p *Places) giver(holders []string) func() {
	holders = slices.Clone(holders)
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.count(holders, -1)
		p.grant()
	})
}

type holderKey struct{}

// With returns a context of work that is done for a holder.
func With(ctx context.Context, holder string) context.Context {
	return context.WithValue(ctx, holderKey{}, holder)
}

// Holder is for whom work is done; empty: for the node itself.
func Holder(ctx context.Context) string {
	holder, _ := ctx.Value(holderKey{}).(string)
	return holder
}
