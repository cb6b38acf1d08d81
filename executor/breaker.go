package executor

import (
	"sync/atomic"
	"time"
)

// A breaker opens after breakerCrashes within breakerWindow.
const (
	breakerCrashes = 5
	breakerWindow  = int64(10 * time.Second)
	breakerPause   = int64(time.Second)
	breakerLongest = int64(30 * time.Second)
)

// breaker is a circuit breaker: it keeps an app whose workers crash in a loop from
// starting more. While it is open it allows no start. After a pause it is half-open
// and allows one start, the probe. The probe's first answer closes the breaker; its
// crash opens it again with a doubled pause (exponential back-off). The pool's mu
// guards all fields but probing.
type breaker struct {
	crashes [breakerCrashes]int64 // times of the last crashes, a ring; 0: none
	next    int
	until   int64 // open until then; 0: closed
	pause   int64 // the last pause
	probing atomic.Bool
}

// allow reports whether a worker may start. If not, it returns how long to wait.
func (b *breaker) allow(now int64) (wait int64, ok bool) {
	switch {
	case b.until == 0:
		return 0, true
	case now < b.until:
		return b.until - now, false
	case b.probing.CompareAndSwap(false, true):
		b.until = now + b.pause // in case the probe never answers
		return 0, true
	}
	b.until, b.pause = 0, 0 // the probe neither crashed nor answered for that long: close
	b.probing.Store(false)
	b.crashes = [breakerCrashes]int64{}
	return 0, true
}

// crash counts a crash, and opens the breaker when there were too many.
func (b *breaker) crash(now int64) {
	b.crashes[b.next] = now
	b.next = (b.next + 1) % breakerCrashes
	oldest := b.crashes[b.next]
	if !b.probing.Load() && (oldest == 0 || now-oldest > breakerWindow) {
		return
	}
	b.pause = min(max(2*b.pause, breakerPause), breakerLongest)
	b.until = now + b.pause
	b.probing.Store(false)
	b.crashes = [breakerCrashes]int64{}
}

// answered closes the breaker if its probe gave an answer. It reports whether
// there is anything to close; the caller then calls close under the pool's mu.
func (b *breaker) answered() bool { return b.probing.Load() }

func (b *breaker) close() {
	b.until, b.pause = 0, 0
	b.probing.Store(false)
}
