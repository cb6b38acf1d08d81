package executor

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/spawn"
)

// scaleAfter is how long a call may have to wait in the least busy worker
// before the app gets another one.
const scaleAfter = int64(5 * time.Millisecond)

// scalePatience is for how long that must last. A short pause of the machine is not load.
const scalePatience = int64(10 * time.Millisecond)

// scalePause is how long a pool waits after it could not grow.
const scalePause = int64(time.Second)

// pool is one app: its functions and its workers. The list of workers is
// copy-on-write, so that calls read it without a lock.
type pool struct {
	exec *Executor
	app  string

	workers atomic.Pointer[[]*worker] // oldest first; replaced under mu
	memory  atomic.Int64              // limit of new workers: that of the largest function
	gone    atomic.Bool               // Retain removed the app
	crowded atomic.Int64              // since when all workers are busy; 0: they are not
	spun    atomic.Int64              // when one of its workers was last seen to spin; 0: never

	mu        sync.Mutex
	functions map[string]*Function // by name, the present ones
	slots     slots
	starting  *start // the start that calls wait for, if any
	growing   bool
	growAfter int64
	breaker   breaker
	uid       int // of the live workers; spawn.NoUID: none
}

// start is one attempt to get the first worker of a pool, which all waiting calls
// share.
type start struct {
	done    chan struct{}
	err     error  // valid when done is closed
	waiting int    // calls that wait for it; guarded by the pool's mu
	cancel  func() // ends its wait for memory
}

func newPool(e *Executor, app string) *pool {
	p := &pool{exec: e, app: app, functions: map[string]*Function{}, uid: spawn.NoUID}
	p.workers.Store(new([]*worker))
	return p
}

// define makes program the present one of its name.
func (p *pool) define(program Program) *Function {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.functions[program.Function]
	if old != nil && old.program.same(program) {
		return old
	}
	f := newFunction(p, program, p.exec.hooks.QueueTimeout, old)
	p.functions[program.Function] = f
	if old != nil {
		p.retire(old)
	}
	p.measure()
	return f
}

// release retires f.
func (p *pool) release(f *Function) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.functions[f.program.Function] == f {
		delete(p.functions, f.program.Function)
		p.measure()
	}
	p.retire(f)
}

// retire frees the slot of f, now or with its last call. The caller holds mu.
func (p *pool) retire(f *Function) {
	f.retired.Store(true)
	if f.idle() {
		p.slots.free(f, p.live())
	}
}

// vacate frees the slot of a retired function that became idle.
func (p *pool) vacate(f *Function) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.idle() {
		p.slots.free(f, p.live())
	}
}

// measure sets the memory limit of new workers. Workers with a smaller limit take no
// further calls and end with their last one. The caller holds mu.
func (p *pool) measure() {
	largest := int64(0)
	for _, f := range p.functions {
		largest = max(largest, int64(f.program.Limits.Memory))
	}
	if largest == 0 {
		return // every function is released: late calls still find a limit
	}
	p.memory.Store(largest)
	for _, w := range p.live() {
		if w.memory < largest {
			w.drain(causeReplaced)
		}
	}
}

// drain ends the workers as they become idle, from now on.
func (p *pool) drain() {
	p.gone.Store(true)
	p.exec.watch.arm(p.exec.now())
}

func (p *pool) live() []*worker { return *p.workers.Load() }

// call runs a flight in one of the app's workers. It reports in runs that the call
// may go on; see await.
func (p *pool) call(ctx context.Context, fl *flight) (r *Result, runs bool, err error) {
	f := fl.function
	for {
		now := p.exec.now()
		w, overdue := p.choose(now)
		if w == nil && overdue != nil {
			if err := overdue.awaitOverdue(ctx); err != nil {
				flightNeverSent(fl)
				return nil, false, err
			}
			continue
		}
		if w == nil {
			if err := p.first(ctx); err != nil {
				flightNeverSent(fl)
				return nil, false, err
			}
			continue
		}
		slot, ok := p.slotOf(f)
		if !ok {
			flightNeverSent(fl)
			return nil, false, &picloud.Error{Code: picloud.CodeQueueFull, Detail: "too many functions of the app run at once", RetryAfter: time.Second}
		}
		f.used.Store(now)
		if w.send(fl, slot, loadServe, now) {
			return w.await(ctx, fl)
		}
	}
}

// slotOf returns the slot of f in the workers' program tables.
func (p *pool) slotOf(f *Function) (uint32, bool) {
	if slot := f.slot.Load(); slot != noSlot {
		return uint32(slot), true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots.assign(f, p.live())
}

// choose returns the worker for the next call: the oldest that is not busy, so that
// frames share writes and spare workers become idle; else the one with the fewest calls.
// Nil: there is none. A worker with an abandoned call is chosen only when there is no
// other; if the call is stuck, another worker is started then. A worker with an overdue
// call may be killed soon, and gets no calls until that is known. It is returned as
// overdue, for the case that there is no other worker.
func (p *pool) choose(now int64) (best, overdue *worker) {
	fewest := int32(0)
	var last *worker // of those with an abandoned call the one with the fewest calls
	live := p.live()
	for _, w := range live {
		if !w.open.Load() {
			continue
		}
		if w.overdue.Load() > 0 {
			overdue = w
			continue
		}
		if w.abandoned.Load() > 0 { // stuck, or soon so if it does not heed its cancel
			if last == nil || w.busy.Load() < last.busy.Load() {
				last = w
			}
			continue
		}
		n := w.running()
		if n <= 0 || w.wait(now, n) < scaleAfter {
			if p.crowded.Load() != 0 {
				p.crowded.Store(0)
			}
			return w, nil
		}
		if best == nil || n < fewest {
			best, fewest = w, n
		}
	}
	if best == nil && last != nil {
		if last.stuck.Load() > 0 {
			p.replace(now)
		}
		return last, nil
	}
	if best != nil && len(live) < p.exec.opts.MaxWorkers && p.crowded.CompareAndSwap(0, now) {
		p.exec.watch.arm(now + scalePatience)
	}
	return best, overdue
}

// scan lets the pool grow if its workers are busy for long enough, and returns
// when to look again.
func (p *pool) scan(now int64) (next int64) {
	p.relieve()
	since := p.crowded.Load()
	if since == 0 {
		return never
	}
	if now < since+scalePatience {
		return since + scalePatience
	}
	for _, w := range p.live() {
		if n := w.running(); n < 2 || w.wait(now, n) < scaleAfter {
			p.crowded.Store(0)
			return never
		}
	}
	p.crowded.Store(now)
	if !p.grow(now) {
		p.crowded.Store(0)
		return never
	}
	return now + scalePatience
}

// first starts the app's first worker. It is a singleflight: the calls that find no
// worker wait for one start. That ends with the last of them which still waits.
func (p *pool) first(ctx context.Context) error {
	s, err := p.joinStart()
	if s == nil {
		return err
	}
	select {
	case <-s.done:
		if picloud.CodeOf(s.err) == picloud.CodeCancelled {
			return nil // the others had left, right before this call came: look again
		}
		return s.err
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		if s.waiting--; s.waiting == 0 {
			s.cancel()
		}
		return cancelled(ctx)
	}
}

// joinStart returns the start that calls wait for. It is nil when there is a worker.
func (p *pool) joinStart() (*start, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.starting; s != nil {
		s.waiting++
		return s, nil
	}
	for _, w := range p.live() {
		if w.open.Load() {
			return nil, nil // another call started it meanwhile
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &start{done: make(chan struct{}), waiting: 1, cancel: cancel}
	runs := p.exec.runInBackground(func() {
		defer cancel()
		s.err = p.start(ctx, p.exec.hooks.MemoryWait)
		p.mu.Lock()
		p.starting = nil
		p.mu.Unlock()
		close(s.done)
	})
	if !runs {
		cancel()
		return nil, &picloud.Error{Code: picloud.CodeDraining, RetryAfter: time.Second}
	}
	p.starting = s
	return s, nil
}

// grow starts one more worker in the background, if the app may have one. It reports
// whether a start is under way.
func (p *pool) grow(now int64) bool {
	return p.startAnother(now, func() bool { return len(p.live()) < p.exec.opts.MaxWorkers })
}

// replace starts a worker when each of the app's has a stuck call.
func (p *pool) replace(now int64) {
	if len(p.live()) < 2*p.exec.opts.MaxWorkers {
		p.startAnother(now, p.lacksWorker)
	}
}

// lacksWorker reports whether each worker that takes calls has an abandoned one.
func (p *pool) lacksWorker() bool {
	return !slices.ContainsFunc(p.live(), func(w *worker) bool { return w.open.Load() && w.abandoned.Load() == 0 })
}

// startAnother starts a worker in the background, if it is still needed: the caller may
// have waited for mu while a start ended. It reports whether a start is under way.
func (p *pool) startAnother(now int64, needed func() bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.growing {
		return true
	}
	if now < p.growAfter || !needed() {
		return false
	}
	p.growing = p.exec.runInBackground(func() {
		err := p.start(context.Background(), 0) // the app has a worker
		p.mu.Lock()
		defer p.mu.Unlock()
		p.growing = false
		if err != nil {
			p.growAfter = p.exec.now() + scalePause
		}
		p.exec.watch.arm(p.exec.now()) // workers with stuck calls may retreat now
	})
	return p.growing
}

// start adds a worker to the pool, if the circuit breaker and the memory allow it.
func (p *pool) start(ctx context.Context, patience time.Duration) error {
	e := p.exec
	p.mu.Lock()
	wait, ok := p.breaker.allow(e.now())
	p.mu.Unlock()
	if !ok {
		return &picloud.Error{
			Code: picloud.CodeBreakerOpen, Detail: "its executors crashed several times within seconds",
			RetryAfter: time.Duration(wait), Hint: "`picloud logs` shows why",
		}
	}
	memory := p.memory.Load()
	if err := e.reserve(ctx, memory, patience); err != nil {
		return err
	}
	w := newWorker(e, p.app, memory)
	w.pool = p
	p.mu.Lock()
	defer p.mu.Unlock()
	uid, ok := p.uid, p.uid != spawn.NoUID
	if !ok {
		uid, ok = e.spawner.AcquireUID()
	}
	if !ok {
		e.capacity.release(memory)
		return e.noMemory(memory)
	}
	p.uid, w.uid = uid, uid
	if err := w.start(); err != nil {
		p.breaker.crash(e.now())
		p.releaseUID()
		e.capacity.release(memory)
		return err
	}
	w.startLow(e.now())
	workers := append([]*worker(nil), p.live()...)
	workers = append(workers, w)
	p.workers.Store(&workers)
	return nil
}

// remove takes a worker that ended out of the pool.
func (p *pool) remove(w *worker, c cause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var workers []*worker
	for _, other := range p.live() {
		if other != w {
			workers = append(workers, other)
		}
	}
	p.workers.Store(&workers)
	if c.counts() {
		p.breaker.crash(p.exec.now())
	}
}

// releaseUID gives the uid back when the app has no worker. The caller holds mu.
func (p *pool) releaseUID() {
	if len(p.live()) == 0 && p.uid != spawn.NoUID {
		p.exec.spawner.ReleaseUID(p.uid)
		p.uid = spawn.NoUID
	}
}
