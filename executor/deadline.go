package executor

import (
	"context"
	"time"

	"github.com/picloud/picloud"
)

// cancelGrace is how long a worker may take to end a call that was cancelled.
const cancelGrace = int64(100 * time.Millisecond)

// A call that nobody waits for any more is abandoned. It is told to stop, and the
// worker does so wherever it interprets the script. A native function goes on until it
// returns. What then happens depends on why the call was abandoned.
//
// The caller left: the call's own deadline holds, as if the caller still waited. The
// call costs its function a place until it has ended, so that abandoned calls cannot
// pile up. After cancelGrace the call is stuck: other calls should not share its fate
// nor its memory. The pool prefers other workers, starts one if there is none, and then
// lets the worker retreat: it ends with the last call that somebody waits for.
//
// The deadline passed: the call is overdue. The worker gets no further calls until the
// call has ended. After cancelGrace the worker has overrun: it ends with the last call
// that somebody waits for, and overrunGrace later at the latest.

// abandon notes that the caller of the flight left. It reports false when the
// answer is there already.
func (w *worker) abandon(fl *flight) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fl.abandoned || w.find(fl.id) != fl {
		return false
	}
	w.markAbandoned(fl)
	if !fl.loading { // a worker that boots or loads cannot stop yet
		fl.due = w.exec.now() + cancelGrace
		w.exec.watch.arm(fl.due)
	}
	return true
}

// markAbandoned notes that nobody waits for the flight any more. The caller holds mu.
func (w *worker) markAbandoned(fl *flight) {
	fl.abandoned = true
	w.abandoned.Add(1)
	w.exec.metrics.abandoned.Inc()
	if fl.cancel != nil {
		fl.cancel()
	}
	w.endDrained()
}

// markOverdue notes that a call's deadline passed, and that it was told to stop. The
// caller holds mu.
func (w *worker) markOverdue(fl *flight, now int64) {
	fl.overdue = true
	fl.due = now + cancelGrace
	if w.overdue.Add(1) == 1 {
		w.overdueEnded = make(chan struct{})
	}
}

// settle takes an abandoned flight that ended out of the counts. The caller holds mu.
func (w *worker) settle(fl *flight) {
	if !fl.abandoned {
		return
	}
	w.abandoned.Add(-1)
	w.exec.metrics.abandoned.Dec()
	if fl.stuck && w.stuck.Add(-1) == 0 && w.drainCause == causeAbandoned && !w.overran.Load() {
		w.drainCause = causeNone
		w.open.Store(!w.dead.Load())
	}
	if fl.overdue && w.overdue.Add(-1) == 0 {
		w.clearOverdue()
	}
}

// clearOverdue wakes the calls that wait in awaitOverdue. The caller holds mu.
func (w *worker) clearOverdue() {
	if w.overdueEnded != nil {
		close(w.overdueEnded)
		w.overdueEnded = nil
	}
}

// awaitOverdue waits until the overdue calls have ended, or the worker takes no
// further calls.
func (w *worker) awaitOverdue(ctx context.Context) error {
	w.mu.Lock()
	ended := w.overdueEnded
	w.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return cancelled(ctx)
	}
}

// awaited is how many calls somebody waits for.
func (w *worker) awaited() int32 { return w.busy.Load() - w.abandoned.Load() }

// scan enforces what is due and returns when something is due next.
func (w *worker) scan(now int64) (next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead.Load() {
		return never
	}
	next = never
	for _, l := range w.loading {
		if l.deadline <= now {
			w.terminate(causeLoadTimeout)
			return never
		}
		next = min(next, l.deadline)
	}
	for _, fl := range w.table {
		if fl == nil {
			continue
		}
		if fl.due <= now {
			w.enforce(fl, now)
		}
		next = min(next, fl.due)
	}
	switch {
	case w.dead.Load():
		return never
	case w.overran.Load() && (w.awaited() == 0 || w.overrunEnd <= now):
		w.terminate(causeTimeout)
		return never
	case w.overran.Load():
		next = min(next, w.overrunEnd)
	}
	next = min(next, w.checkShare(now))
	return min(next, w.scanIdle(now))
}

// scanIdle ends a worker that nobody needs. The caller holds mu.
func (w *worker) scanIdle(now int64) (next int64) {
	if w.awaited() > 0 || w.pool == nil {
		return never
	}
	idle := w.last.Load() + int64(w.exec.opts.IdleTimeout)
	switch gone := w.pool.gone.Load(); {
	case w.drainCause != causeNone:
		w.terminate(w.drainCause)
	case w.busy.Load() > 0 && !gone: // abandoned calls: their deadlines hold
		return never
	case idle <= now || gone:
		w.terminate(causeIdle)
	default:
		return idle
	}
	return never
}

// enforce takes the next step with a flight that is due. The caller holds mu.
func (w *worker) enforce(fl *flight, now int64) {
	switch {
	case !fl.abandoned:
		fl.err = timedOut(fl)
		w.markAbandoned(fl)
		w.markOverdue(fl, now)
		fl.done <- struct{}{}
	case !fl.overdue && !fl.stuck && now < fl.deadline:
		fl.stuck, fl.due = true, fl.deadline
		w.stuck.Add(1)
	default:
		fl.due = never
		w.overrun(fl, now)
	}
}

// overrun ends the worker for a call that did not end at its deadline, as soon as
// nobody waits for another call in it. The caller holds mu.
func (w *worker) overrun(fl *flight, now int64) {
	if w.overran.Swap(true) {
		return
	}
	w.open.Store(false)
	w.clearOverdue()
	w.culprit = culprit{fl.function, fl.invoke.ID, !fl.overdue}
	w.overrunEnd = now + int64(w.exec.hooks.OverrunGrace)
	w.exec.capacity.tell()
}

// retreat gives a worker with a stuck call no more calls, and ends it with the last
// call that somebody waits for.
func (w *worker) retreat() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stuck.Load() == 0 || w.drainCause != causeNone {
		return
	}
	w.open.Store(false)
	w.drainCause = causeAbandoned
	w.endDrained()
}

// relieve lets workers with stuck calls retreat as soon as the app has another one. At
// most MaxWorkers of them, and of those that overran, go on beside the workers that
// take calls.
func (p *pool) relieve() {
	var free, closing int
	var stuck, overran []*worker
	for _, w := range p.live() { // oldest first
		switch {
		case w.overran.Load():
			overran = append(overran, w)
		case w.stuck.Load() > 0 && w.open.Load():
			stuck = append(stuck, w)
		case w.stuck.Load() > 0:
			closing++
		case w.open.Load():
			free++
		}
	}
	for len(overran) > 0 && closing+len(overran) > p.exec.opts.MaxWorkers {
		overran[0].kill(causeTimeout)
		overran = overran[1:]
	}
	for _, w := range stuck {
		if free > 0 && closing+len(overran) < p.exec.opts.MaxWorkers {
			w.retreat()
			closing++
		}
	}
}

// culprit is the call that ended a worker.
type culprit struct {
	function *Function // nil: no call did
	call     string
	left     bool // its caller left before its deadline
}

// record is what the function's log says about a call whose caller was not there to
// be told.
func (c culprit) record() picloud.LogRecord {
	p := &c.function.program
	return picloud.LogRecord{
		Time: time.Now().UTC(), Level: "error", Fields: map[string]any{"code": picloud.CodeFunctionTimeout},
		Message:  "the caller had left, and the call went on after its timeout of " + p.Limits.Timeout.String() + ": its executor was ended; return earlier, or raise timeout",
		Function: p.Function, Version: p.Version, Invocation: c.call,
	}
}

// endDrained has scan look at a worker that takes no further calls, when the last
// call that somebody waited for is over; apps that wait for memory may evict it then.
// The caller holds mu.
func (w *worker) endDrained() {
	if w.awaited() > 0 {
		return
	}
	w.exec.capacity.tell()
	if w.drainCause != causeNone || w.overran.Load() || w.pool != nil && w.pool.gone.Load() {
		w.exec.watch.arm(w.exec.now())
	}
}
