package budget

import (
	"container/list"
	"sync"
	"time"
)

// Queue is a counting semaphore for bytes with a bounded first-in-first-out queue: what
// does not fit waits a while for its turn. What is larger than the limit has its turn
// alone. The last quarter of the bytes, and of the places in the queue, is for holders
// with less than an eighth of them, so that one holder cannot shut out the rest. It is
// safe for concurrent use.
type Queue struct {
	limit int64
	most  int // that wait at once

	mu      sync.Mutex
	used    int64
	held    map[string]int64 // bytes by holder
	queued  map[string]int   // places in the queue by holder
	waiting list.List        // of *turn, the oldest first
}

type turn struct {
	holder  string
	n       int64
	granted chan struct{} // closed when the bytes are taken
}

// NewQueue returns a queue for limit bytes. Of those that want bytes, most wait at once,
// and further ones are refused.
func NewQueue(limit int64, most int) *Queue {
	return &Queue{limit: limit, most: most, held: map[string]int64{}, queued: map[string]int{}}
}

// Take takes n bytes for a holder, such as an app. It waits at most patience for its
// turn, or until done is closed, and reports whether it has the bytes.
func (q *Queue) Take(done <-chan struct{}, holder string, n int64, patience time.Duration) bool {
	q.mu.Lock()
	if q.waiting.Len() == 0 && q.fits(n) && q.fair(holder, n) {
		q.take(holder, n)
		q.mu.Unlock()
		return true
	}
	if !q.mayWait(holder) {
		q.mu.Unlock()
		return false
	}
	t := &turn{holder, n, make(chan struct{})}
	at := q.waiting.PushBack(t)
	q.queued[holder]++
	q.grant() // those before it may wait for their own share only
	q.mu.Unlock()

	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-t.granted:
		return true
	case <-late.C:
	case <-done:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-t.granted: // at the last moment
		return true
	default:
	}
	q.leave(at)
	q.grant() // whoever is next may need less
	return false
}

// fits reports whether there is room for n bytes.
func (q *Queue) fits(n int64) bool { return q.used == 0 || q.used+n <= q.limit }

// fair reports whether n bytes more for the holder leave enough to the others.
func (q *Queue) fair(holder string, n int64) bool {
	return q.used == 0 || q.held[holder]+n <= q.limit/8 || q.used+n <= q.limit-q.limit/4
}

// mayWait reports whether the holder gets a place in the queue.
func (q *Queue) mayWait(holder string) bool {
	all := q.waiting.Len()
	return all < q.most && (q.queued[holder] < max(q.most/8, 1) || all < q.most-q.most/4)
}

func (q *Queue) take(holder string, n int64) {
	q.used += n
	q.held[holder] += n
}

// leave takes a turn out of the queue.
func (q *Queue) leave(at *list.Element) {
	t := q.waiting.Remove(at).(*turn)
	if q.queued[t.holder]--; q.queued[t.holder] == 0 {
		delete(q.queued, t.holder)
	}
}

// Give returns n bytes that were taken for the holder.
func (q *Queue) Give(holder string, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= n
	if q.held[holder] -= n; q.held[holder] <= 0 {
		delete(q.held, holder)
	}
	q.grant()
}

// grant gives those their turn for whom there is room, in order. It passes over those
// whose holder has its share already. The caller holds mu.
func (q *Queue) grant() {
	var next *list.Element
	for at := q.waiting.Front(); at != nil; at = next {
		next = at.Next()
		t := at.Value.(*turn)
		if !q.fits(t.n) {
			return
		}
		if !q.fair(t.holder, t.n) {
			continue
		}
		q.take(t.holder, t.n)
		q.leave(at)
		close(t.granted)
	}
}
