package quota

import (
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

const (
	// renew is how long a node waits between two questions about a function that has what
	// it needs.
	renew = time.Second
	// hurry is the wait when calls wait for places, hurryAll when none may run at all, and
	// retry when the keeper did not answer.
	hurry, hurryAll, retry = 250 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond
	// idle is how long a function keeps an allotment that nobody uses.
	idle = 3 * time.Second
	// memory is for how long the most that ran and waited counts as what is wanted.
	memory = time.Second
	// patience is how long the keeper must fail before a node takes its floor: every lease
	// of a keeper that died with the first failure is over then.
	patience = counted
	// despair is when the floor is one at least.
	despair = 20 * time.Second
)

// Gate admits the calls of one function on this node.
type Gate interface {
	// Allot says how many calls may run, until a time: from then on none may begin. The
	// zero time: for good. Calls that run go on.
	Allot(n int, until time.Time)
	// Watch makes the gate call short each time that a call does not find a place; nil: it
	// calls nobody. Short does not block.
	Watch(short func())
	// Demand returns how many calls run and wait, and the most that did at once since it
	// was last called.
	Demand() (running, waiting, peak int)
}

// holder is this node's part of one function. Quota's mu guards it.
type holder struct {
	key   picloud.RouteKey
	limit int
	gate  Gate

	short   atomic.Bool // a call found no place since the last question
	active  bool        // it is in Quota.active
	asking  bool        // a question is under way
	next    time.Time   // when to ask
	asked   time.Time   // when it did last
	granted int         // the allotment
	until   time.Time   // its end; zero: it is a floor, or nothing
	used    time.Time   // when calls were last there
	wants   int
	wanted  time.Time // when wants was last reached
	failing time.Time // since when the keeper gives no answer; zero: it does
}

// set changes the allotment.
func (h *holder) set(n int, until time.Time) {
	h.granted, h.until = n, until
	h.gate.Allot(n, until)
}

// lapse notes that the lease is over, if it is. The gate has looked at the clock itself.
func (h *holder) lapse(now time.Time) {
	if !h.until.IsZero() && !now.Before(h.until) {
		h.set(0, time.Time{})
	}
}

// item is what to ask for. It gives all back when nobody has used the function for some
// time.
func (h *holder) item(now time.Time) Item {
	h.short.Store(false)
	running, waiting, peak := h.gate.Demand()
	if peak > 0 || running+waiting > 0 {
		h.used = now
	}
	peak = min(max(peak, running+waiting), h.limit)
	if peak >= h.wants || now.Sub(h.wanted) >= memory {
		h.wants, h.wanted = peak, now
	}
	if now.Sub(h.used) >= idle {
		h.set(0, time.Time{})
		h.wants = 0
		running, _, _ = h.gate.Demand() // a call may have come right before
	}
	return Item{
		App: h.key.App, Function: h.key.Function, Limit: h.limit,
		Holds: max(h.granted, running), Wants: max(h.wants, running),
	}
}

// take takes an answer to a question that was sent at a time.
func (h *holder) take(item Item, s Share, sent, now time.Time) {
	h.failing = time.Time{}
	granted := min(max(s.Granted, 0), h.limit) // a keeper may lie
	h.set(granted, sent.Add(time.Duration(min(max(s.Lease, 0), lease.Milliseconds()))*time.Millisecond))
	switch {
	case granted < item.Holds:
		h.next = sent.Add(hurryAll) // to confirm it
	case item.Wants > granted && granted == 0:
		h.next = sent.Add(hurryAll)
	case item.Wants > granted:
		h.next = sent.Add(hurry)
	default:
		h.next = sent.Add(renew)
	}
	if h.short.Load() {
		h.hasten(now)
	}
}

// hasten asks at once, or soon after the last question.
func (h *holder) hasten(now time.Time) {
	at := h.asked.Add(hurryAll)
	if h.granted > 0 && !h.until.IsZero() {
		at = h.asked.Add(hurry)
	}
	if at.Before(now) {
		at = now
	}
	if at.Before(h.next) {
		h.next = at
	}
}

// fail notes that the keeper did not answer. Since is when it began to fail for any
// function.
func (h *holder) fail(v View, self string, since, now time.Time) {
	if h.failing.IsZero() {
		h.failing = now
	}
	if !since.IsZero() && since.Before(h.failing) {
		h.failing = since
	}
	h.next = now.Add(retry)
	h.lapse(now)
	if h.until.IsZero() && now.Sub(h.failing) >= patience {
		floor := v.floor(h.key, self, h.limit)
		if now.Sub(h.failing) >= despair {
			floor = max(floor, 1)
		}
		h.set(floor, time.Time{})
	}
}
