// Package budget bounds memory that is shared by many who do not know each other.
//
// What divides things on a node, and when to take which:
//
//   - Budget and its Parts: bytes of what is on its way. What does not fit is refused.
//   - Queue: bytes of large work, which waits for its turn. A large call of the control
//     API waits here first, and then takes its bytes from the budget.
//   - share.Places: pieces, such as calls or followers, with a bound for each holder.
//   - executor.capacity: the memory of processes, which idle ones can be ended for. It is
//     first in, first out, and knows no holders: an app waits for one process at a time.
//
// The first three have one rule: the last part is for holders who have little or nothing.
package budget

import (
	"maps"
	"sync"
	"sync/atomic"
)

// maxParts is how many parts a budget remembers before it drops those that hold nothing.
const maxParts = 1024

// Budget is a counting semaphore for bytes, without a queue: a request that does not
// fit is refused at once. It is safe for concurrent use. A nil Budget has no limit.
type Budget struct {
	limit int64
	used  atomic.Int64
	whole *Budget // of a part

	taking sync.Mutex // of a part: its holder takes one after the other

	mu    sync.Mutex
	parts map[string]*Budget
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget { return &Budget{limit: limit} }

// Take reserves n bytes, or reports that they do not fit. What does not fit takes nothing,
// at no moment: it makes no other request fail.
func (b *Budget) Take(n int64) bool {
	if b == nil || n <= 0 {
		return true
	}
	if b.whole == nil {
		return b.add(n, b.limit)
	}
	b.taking.Lock()
	defer b.taking.Unlock()
	all := b.whole.limit
	if b.used.Load()+n > all/8 {
		all -= all / 4
	}
	if !b.whole.add(n, all) {
		return false
	}
	b.used.Add(n)
	return true
}

// add adds n bytes to what is used, unless that is more than most then.
func (b *Budget) add(n, most int64) bool {
	for {
		used := b.used.Load()
		if n > most-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Part returns the part of a budget that one holder has, such as an app: always the
// same one, as long as it holds something. The last quarter of a budget is for holders
// with less than an eighth of it, so that one of them cannot shut out the rest.
func (b *Budget) Part(holder string) *Budget {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	part := b.parts[holder]
	if part != nil {
		return part
	}
	if len(b.parts) >= maxParts {
		maps.DeleteFunc(b.parts, func(_ string, p *Budget) bool { return p.Used() == 0 })
	}
	if b.parts == nil {
		b.parts = map[string]*Budget{}
	}
	part = &Budget{limit: b.limit, whole: b}
	b.parts[holder] = part
	return part
}

// Give returns n bytes that were taken.
func (b *Budget) Give(n int64) {
	if b == nil || n <= 0 {
		return
	}
	b.used.Add(-n)
	if b.whole != nil {
		b.whole.used.Add(-n)
	}
}

// Used is how many bytes are taken now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Limit is how many bytes there are.
func (b *Budget) Limit() int64 { return b.limit }

// Share is what one piece of work holds of a budget, such as a host call. The first
// Free bytes are not counted: small work goes on when large work has taken all
// there is, and costs nothing that others could notice. A share is for one goroutine.
type Share struct {
	Of   *Budget
	Free int64

	wanted, held int64
}

// Take reserves n bytes more, or reports that they do not fit. A nil Share has no limit.
func (s *Share) Take(n int64) bool {
	if s == nil || n <= 0 {
		return true
	}
	more := max(s.wanted+n-s.Free, 0) - s.held
	if !s.Of.Take(more) {
		return false
	}
	s.wanted += n
	s.held += more
	return true
}

// GiveAll returns everything.
func (s *Share) GiveAll() {
	s.Of.Give(s.held)
	s.wanted, s.held = 0, 0
}
