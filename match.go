package picloud

import "math"

// Match is the condition of a change under optimistic concurrency: the version
// or revision of the state that the change is made on. When another state is
// there, the change fails with ErrPrecondition. The zero value is MatchAny.
type Match int64

const (
	// MatchAny allows the change on whatever is there.
	MatchAny Match = 0
	// MatchNone allows the change only when nothing is there.
	MatchNone Match = -1
	// matchNever is the condition of a state that cannot exist.
	matchNever Match = math.MinInt64
)

// MatchVersion allows the change only on the state that has the version, or the
// revision. Versions count from 1, so a smaller version matches no state.
func MatchVersion(version int64) Match {
	if version < 1 {
		return matchNever
	}
	return Match(version)
}

// Accepts reports whether the condition holds for the version that is there, 0
// standing for nothing.
func (m Match) Accepts(present int64) bool {
	switch m {
	case MatchAny:
		return true
	case MatchNone:
		return present == 0
	}
	return int64(m) == present
}
