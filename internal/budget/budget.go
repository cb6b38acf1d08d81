// Package budget bounds memory that is shared by many who do not know each other.
package budget

import "sync/atomic"

// Budget is a counting semaphore for bytes, without a queue: a request that does not
// fit is refused at once. It is safe for concurrent use.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget { return &Budget{limit: limit} }

// Take reserves n bytes, or reports that they do not fit.
func (b *Budget) Take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// Give returns n bytes that were taken.
func (b *Budget) Give(n int64) { b.used.Add(-n) }

// Used is how many bytes are taken now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Limit is how many bytes there are.
func (b *Budget) Limit() int64 { return b.limit }
