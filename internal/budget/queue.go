package budget

import (
	"container/list"
	"sync"
	"time"
)

// Queue is a counting semaphore for bytes with a bounded first-in-first-out queue: what
// does not fit waits a while for its turn. What is larger than the limit has its turn
// alone. It is safe for concurrent use.
type Queue struct {
	limit int64
	most  int // that wait at once

	mu      sync.Mutex
	used    int64
	waiting list.List // of *turn, the oldest first
}

type turn struct {
	n       int64
	granted chan struct{} // closed when the bytes are taken
}

// NewQueue returns a queue for limit bytes, in which at most most wait at once.
func NewQueue(limit int64, most int) *Queue { return &Queue{limit: limit, most: most} }

// Take takes n bytes. It waits at most patience for its turn, or until done is closed,
// and reports whether it has the bytes.
func (q *Queue) Take(done <-chan struct{}, n int64, patience time.Duration) bool {
	q.mu.Lock()
	if q.waiting.Len() == 0 && q.fits(n) {
		q.used += n
		q.mu.Unlock()
		return true
	}
	if q.waiting.Len() >= q.most {
		q.mu.Unlock()
		return false
	}
	t := &turn{n, make(chan struct{})}
	at := q.waiting.PushBack(t)
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
	q.waiting.Remove(at)
	q.grant() // whoever is next may need less
	return false
}

func (q *Queue) fits(n int64) bool { return q.used == 0 || q.used+n <= q.limit }

// Give returns n bytes that were taken.
func (q *Queue) Give(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used -= n
	q.grant()
}

// grant gives those their turn for whom there is room, in order. The caller holds mu.
func (q *Queue) grant() {
	for at := q.waiting.Front(); at != nil; at = q.waiting.Front() {
		t := at.Value.(*turn)
		if !q.fits(t.n) {
			return
		}
		q.used += t.n
		q.waiting.Remove(at)
		close(t.granted)
	}
}
