package invoke

import (
	"time"

	"github.com/picloud/picloud"
)

// Staleness says since when the node has not compared its catalog with the database. Its
// nil is a node that has: it costs a call one atomic load.
type Staleness struct{ since time.Time }

// SetStale says since when the node's copy of the catalog was not compared; the zero time:
// it is current.
func (i *Invoker) SetStale(since time.Time) {
	if since.IsZero() {
		i.stale.Store(nil)
		return
	}
	i.stale.Store(&Staleness{since})
}

// Age is how old the copy may be, in full seconds.
func (s *Staleness) Age() time.Duration { return time.Since(s.since).Truncate(time.Second) }

// Staleness returns how old the function's code may be, nil if it is current, and the error
// of a call for which that is too old.
func (f *Function) Staleness() (*Staleness, error) {
	s := f.invoker.stale.Load()
	if s == nil || f.Limits.MaxStale == 0 {
		return s, nil
	}
	age := s.Age()
	if age <= time.Duration(f.Limits.MaxStale) {
		return s, nil
	}
	return s, &picloud.Error{
		Code: picloud.CodeStale, Op: "call function", Resource: f.Resource(), RetryAfter: staleRetry,
		Detail: "this node has not compared its catalog with the database for " + age.String() + ", and the function's max_stale is " + f.Limits.MaxStale.String(),
		Hint:   "call another node, or again when this one reaches the database; `picloud status` says why it does not",
	}
}

// staleRetry is when a call to a node with an old copy is worth repeating: nodes look for
// the database about every three seconds.
const staleRetry = 5 * time.Second
