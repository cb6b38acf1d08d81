package executor

import (
	"cmp"
	"slices"
	"time"
)

// freshFor is how long a worker that was started for a call is not evicted before the
// call has come.
const freshFor = int64(100 * time.Millisecond)

// makeRoom ends workers for the first that waits for memory: those that were idle the
// longest, that is, nobody waits for a call in them, and then those that overran. It is
// the maker of the executor's capacity.
func (e *Executor) makeRoom(lacks func() int64, try bool) (coming int64, again time.Duration) {
	var idle, overran []*worker
	there := int64(0) // that idle workers could give
	now := e.now()
	for _, w := range e.everyWorker() {
		fresh := w.last.Load() + freshFor - now
		switch {
		case w.dead.Load():
			if !w.freed.Load() {
				coming += w.memory
			}
		case w.overran.Load():
			overran = append(overran, w)
			there += w.memory
		case w.pool == nil || !w.open.Load() || w.awaited() > 0:
		case !w.warm.Load() && fresh > 0:
			if pause := time.Duration(fresh); again == 0 || pause < again {
				again = pause
			}
		default:
			idle = append(idle, w)
			there += w.memory
		}
	}
	missing := lacks()
	if !try && coming+there < missing {
		return coming, again
	}
	slices.SortFunc(idle, func(a, b *worker) int { return cmp.Compare(a.last.Load(), b.last.Load()) })
	for _, w := range slices.Concat(idle, overran) {
		if coming >= missing {
			break
		}
		if w.overran.Load() {
			w.kill(causeTimeout)
		} else {
			w.killIfIdle(causeEvicted) // nothing, if it got a call meanwhile
		}
		if w.dead.Load() {
			coming += w.memory
		}
	}
	return coming, again
}

// everyWorker returns the workers that there are now.
func (e *Executor) everyWorker() []*worker {
	e.mu.Lock()
	defer e.mu.Unlock()
	workers := make([]*worker, 0, len(e.workers))
	for w := range e.workers {
		workers = append(workers, w)
	}
	return workers
}
