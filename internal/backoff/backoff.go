// Package backoff is how the node waits before it tries again what failed:
// exponential backoff with jitter.
package backoff

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The pauses that most parts of the node use: short enough that a restart of the
// database is hardly noticed, long enough that a dead one is left alone.
const (
	First = 250 * time.Millisecond
	Last  = 15 * time.Second
)

// Soon is the last pause of what a node needs in order to be current: after an outage all
// nodes are on the newest revision within 10 s. An attempt that began just before the end
// may take 5 s, and the pause after it one and a half times Soon.
const Soon = 3 * time.Second

// Backoff gives the next pause by NextBackOff and begins anew by Reset. It is
// not safe for concurrent use.
type Backoff = backoff.ExponentialBackOff

// New returns a backoff whose pauses double from first to last. Each is between
// half of its interval and one and a half times that, so that nodes that failed
// together do not come back together.
func New(first, last time.Duration) *Backoff {
	b := &Backoff{InitialInterval: first, MaxInterval: last, Multiplier: 2, RandomizationFactor: 0.5}
	b.Reset()
	return b
}
