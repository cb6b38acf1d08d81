package executor

import (
	"log/slog"
	"time"
)

// How a worker that spins is told from one that is only busy, and what becomes
// of it.
const (
	lookPause = int64(250 * time.Millisecond) // between two looks at a busy worker
	spinAfter = int64(time.Second)            // of burning: it spins
	calmAfter = int64(time.Second)            // of not burning: it does not any more
	spinMark  = int64(10 * time.Second)       // how long new workers of the app begin at low priority
	longCall  = int64(50 * time.Millisecond)  // of wall time: not a quick one
	longWork  = int64(5 * time.Millisecond)   // of the processor for each call
	lowest    = 19                            // the nice value of a worker that spins
)

// share is what a worker takes of the processor. The worker's mu guards it.
type share struct {
	at    int64 // of the last look; 0: none yet
	cpu   int64 // what it had taken then
	ended int64 // calls that ended since
	hot   int64 // since when it burns; 0: it does not
	calm  int64 // since when it does not, though its priority is low; 0: it does
	low   bool  // its priority is the lowest
}

// wake begins a new measurement if the last look was long ago: what a worker did
// not take while it was idle does not count.
func (s *share) wake(now int64, cpu func() int64) {
	if now-s.at > lookPause {
		s.at, s.cpu, s.ended = now, cpu(), 0
	}
}

// look measures. It returns what changed: +1, the worker spins; -1, it stopped.
//
// oldest is how long the oldest call runs by now, and rested that there was a
// time since the last look when none ran. A worker burns when its calls are long
// and it takes more than half of a core; where many want the processor, also
// when it takes less, but never rests. One of many quick calls is no harm, only
// popular: at low priority anything else on the machine would starve it.
func (s *share) look(now, cpu, oldest int64, rested bool) (turn int) {
	begun, took, span := s.at, cpu-s.cpu, now-s.at
	long := oldest >= longCall || took >= longWork*s.ended
	burns := long && (2*took > span || !rested && 16*took > span)
	s.at, s.cpu, s.ended = now, cpu, 0
	switch {
	case burns && s.hot == 0:
		s.hot = begun
	case !burns:
		s.hot = 0
	}
	switch {
	case !s.low:
		s.calm = 0
		if s.hot != 0 && now-s.hot >= spinAfter {
			return 1
		}
	case burns, long && !rested: // kept from the processor it takes little, too
		s.calm = 0
	case s.calm == 0:
		s.calm = begun
	}
	if s.calm != 0 && now-s.calm >= calmAfter {
		return -1
	}
	return 0
}

// watched reports whether there is to be another look.
func (s *share) watched(busy bool) bool { return busy || s.low || s.hot != 0 }

// police looks at what the worker takes of the processor and returns when to
// look again. The caller holds mu.
func (w *worker) police(now int64) (next int64) {
	s, busy := &w.share, w.busy.Load() > 0
	if !s.watched(busy) {
		return never
	}
	if next = s.at + lookPause; now < next {
		return next
	}
	rested := w.running() <= 0 || w.rested >= s.at
	switch s.look(now, w.process.CPU(), w.oldest(now), rested) {
	case +1:
		w.lower(now)
	case -1:
		w.raise()
	}
	if s.low && s.calm == 0 && w.pool != nil {
		w.pool.spun.Store(now)
	}
	if !s.watched(busy) {
		return never
	}
	return now + lookPause
}

// oldest is how long the longest of the calls runs that take the processor. The
// caller holds mu.
func (w *worker) oldest(now int64) int64 {
	age := int64(0)
	for _, fl := range w.table {
		switch {
		case fl == nil || fl.loading || fl.asking > 0:
		case fl.abandoned:
			age = max(age, longCall)
		default:
			age = max(age, now-(fl.deadline-fl.timeout))
		}
	}
	return age
}

// lower gives the worker the lowest priority: it gets what nobody else wants.
func (w *worker) lower(now int64) {
	if err := w.process.Renice(lowest); err != nil {
		w.exec.log.Warn("an executor spins, and its priority cannot be lowered", slog.String("app", w.app), slog.Int("pid", w.process.PID()), slog.Any("error", err))
		w.share.hot = now // and again in a while
		return
	}
	w.share.low, w.share.calm = true, 0
	w.exec.metrics.low.Inc()
	w.exec.log.Info("an executor spins: its priority is lowered", slog.String("app", w.app), slog.Int("pid", w.process.PID()))
}

// raise takes that back. Who may not, ends the worker when it is idle: the next
// call gets a fresh one.
func (w *worker) raise() {
	if w.exec.mayRaise && w.process.Renice(0) == nil {
		w.share.low, w.share.calm = false, 0
		w.exec.metrics.low.Dec()
		return
	}
	w.open.Store(false)
	w.leaving = causeReplaced
	w.exec.watch.arm(w.exec.now())
}

// inherit gives a fresh worker of an app that spun just now a low priority from
// the start: else a script that is killed for it again and again would spin at
// the common one for ever. The caller holds the pool's mu.
func (w *worker) inherit(now int64) {
	if spun := w.pool.spun.Load(); spun == 0 || now-spun > spinMark {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dead.Load() {
		w.lower(now)
	}
}
