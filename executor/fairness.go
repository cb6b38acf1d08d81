package executor

import (
	"log/slog"
	"time"
)

// The bounds by which the executor tells a worker that spins from one that is only
// busy.
const (
	samplePause = int64(250 * time.Millisecond) // between two samples of a busy worker
	spinAfter   = int64(time.Second)            // of burning, then the worker spins
	calmAfter   = int64(time.Second)            // of not burning, then it no longer spins
	spinMark    = int64(10 * time.Second)       // how long new workers of the app begin at low priority
	longCall    = int64(50 * time.Millisecond)  // of wall time: not a quick one
	longWork    = int64(5 * time.Millisecond)   // of the processor for each call
	lowest      = 19                            // the nice value of a worker that spins
)

// share measures what a worker takes of the processor: a sampler with hysteresis. The
// worker's mu guards it.
type share struct {
	at    int64 // time of the last sample; 0: none yet
	cpu   int64 // processor time of the worker at that time
	ended int64 // calls that ended since that time
	hot   int64 // since when the worker burns; 0: it does not
	calm  int64 // since when a worker of low priority does not burn; 0: it burns
	low   bool  // its priority is the lowest
}

// wake begins a new measurement if the last sample is old: the time for which a
// worker was idle must not count as rest.
func (s *share) wake(now int64, cpu func() int64) {
	if now-s.at > samplePause {
		s.at, s.cpu, s.ended = now, cpu(), 0
	}
}

// sample measures. It returns what changed: +1, the worker spins; -1, it stopped.
//
// oldest is for how long the oldest call has run, and rested reports whether at some
// time since the last sample no call ran. A worker burns when its calls are long and
// it takes more than half of a core. On a machine where many processes want the
// processor it also burns when it takes less but never rests. A worker with many
// quick calls does no harm: it serves a popular app, and at low priority every other
// process on the machine would starve it.
func (s *share) sample(now, cpu, oldest int64, rested bool) (turn int) {
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
	case burns, long && !rested: // a worker that the scheduler holds back takes little, too
		s.calm = 0
	case s.calm == 0:
		s.calm = begun
	}
	if s.calm != 0 && now-s.calm >= calmAfter {
		return -1
	}
	return 0
}

// watched reports whether another sample is needed.
func (s *share) watched(busy bool) bool { return busy || s.low || s.hot != 0 }

// checkShare samples what the worker takes of the processor, changes its priority if
// needed, and returns when to sample again. The caller holds mu.
func (w *worker) checkShare(now int64) (next int64) {
	s, busy := &w.share, w.busy.Load() > 0
	if !s.watched(busy) {
		return never
	}
	if next = s.at + samplePause; now < next {
		return next
	}
	rested := w.running() <= 0 || w.rested >= s.at
	switch s.sample(now, w.process.CPU(), w.oldest(now), rested) {
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
	return now + samplePause
}

// oldest is for how long the oldest call has run, of those that take the processor.
// The caller holds mu.
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

// lower gives the worker the lowest priority: it gets the processor time that no
// other process wants.
func (w *worker) lower(now int64) {
	if err := w.process.Renice(lowest); err != nil {
		w.exec.log.Warn("an executor spins, and its priority cannot be lowered", slog.String("app", w.app), slog.Int("pid", w.process.PID()), slog.Any("error", err))
		w.share.hot = now // try again after spinAfter
		return
	}
	w.share.low, w.share.calm = true, 0
	w.exec.metrics.low.Inc()
	w.exec.log.Info("an executor spins: its priority is lowered", slog.String("app", w.app), slog.Int("pid", w.process.PID()))
}

// raise restores the worker's priority. An agent without the privilege for that ends
// the worker as soon as it is idle, and the next call gets a fresh worker.
func (w *worker) raise() {
	if w.exec.mayRaise && w.process.Renice(0) == nil {
		w.share.low, w.share.calm = false, 0
		w.exec.metrics.low.Dec()
		return
	}
	w.open.Store(false)
	w.drainCause = causeReplaced
	w.exec.watch.arm(w.exec.now())
}

// startLow gives a fresh worker low priority from the start when its app spun a
// moment ago. Without it, a script that is killed for spinning again and again would
// always spin at normal priority. The caller holds the pool's mu.
func (w *worker) startLow(now int64) {
	if spun := w.pool.spun.Load(); spun == 0 || now-spun > spinMark {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.dead.Load() {
		w.lower(now)
	}
}
