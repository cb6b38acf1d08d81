package executor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/spawn"
	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/budget"
)

// cancelGrace is how long a worker may take to end a call that was cancelled.
const cancelGrace = int64(100 * time.Millisecond)

// socketGrace is for how long the socket of a killed worker is still read.
const socketGrace = time.Second

var errEnded = errors.New("the executor process has ended")

// worker is one process and the calls in it. One goroutine reads its socket and, when
// the conversation ends, finishes the worker; callers write.
type worker struct {
	exec    *Executor
	pool    *pool // nil: a throw-away worker
	app     string
	memory  int64
	uid     int
	sink    LogSink
	transit *budget.Budget   // of the app: what is large and on its way
	loads   chan wire.Loaded // throw-away workers only: takes what was loaded

	process *spawn.Process
	socket  *wire.Socket
	frames  *wire.Writer
	ctx     context.Context // of host calls; ends with the worker
	cancel  context.CancelFunc
	hosts   sync.WaitGroup // goroutines of host calls
	ended   chan struct{}  // closed when the process is reaped

	open atomic.Bool  // takes further calls
	dead atomic.Bool  // is being killed
	busy atomic.Int32 // calls in the table
	// Calls of busy that wait for the host. They take no processor.
	waiting    atomic.Int32
	consulting atomic.Int32 // host calls that the host works on
	overdue    atomic.Int32 // abandoned calls that must end within cancelGrace, or the worker is killed
	last       atomic.Int64 // when the last call ended

	// How fast it works, for pool.choose.
	warm     atomic.Bool  // has loaded its first program
	progress atomic.Int64 // when a call last ended or began to wait for the host, or one began from idleness
	interval atomic.Int64 // average time between these while some run

	mu         sync.Mutex
	table      []*flight // by the low half of a call's id; nil: free
	free       []uint32  // free places of the table
	generation uint32    // the high half of the next call's id
	programs   []loaded  // by slot
	unload     []uint32  // slots to unload before the next call
	loading    []load    // oldest first
	why        cause     // causeNone: the agent did not end it
	drainCause cause     // why it ends as soon as it is idle; causeNone: it stays
	share      share     // of the processor
	rested     int64     // the last time at which no call ran
	// overdueEnded is closed when no call is overdue any more; nil: no call is overdue.
	overdueEnded chan struct{}

	hello  bool     // the first frame came; for the reading goroutine
	layers []string // of its sandbox
}

// loaded is a place in a worker's program table.
type loaded struct {
	function *Function // nil: free
	ready    bool      // the worker said that it is loaded
	failed   bool      // the worker could not load it: the next call tries again
}

// load is a Load frame whose Loaded has not come yet.
type load struct {
	slot     uint32
	function *Function
	deadline int64
}

// How a program is loaded.
const (
	loadServe = wire.ModeServe
	loadDraft = wire.ModeDraft
)

func newWorker(e *Executor, app string, memory int64) *worker {
	return &worker{
		exec: e, app: app, memory: memory, uid: spawn.NoUID, sink: e.opts.Logs, transit: e.opts.Memory.Part(app),
		ended: make(chan struct{}), programs: make([]loaded, 0, 4),
	}
}

// start starts the process and the goroutine that reads from it. The first frame is
// queued, and leaves with the first call's write.
func (w *worker) start() error {
	e := w.exec
	process, socket, err := e.spawner.Start(w.memory, w.uid)
	if known := (*picloud.Error)(nil); errors.As(err, &known) {
		return known
	}
	if err != nil {
		return &picloud.Error{
			Code: picloud.CodeExecutor, Op: "start executor", Resource: w.app, Err: err, RetryAfter: time.Second,
			Hint: "run `picloud doctor`; the worker's binary must be executable for every user",
		}
	}
	w.process, w.socket = process, socket
	w.frames = wire.NewWriter(socket, true)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.frames.Queue(wire.TypeConfig, 0, &wire.Config{Version: wire.Version, App: w.app, Memory: w.memory, Programs: maxPrograms})
	w.last.Store(e.now())
	w.share.at = e.now()
	w.open.Store(true)
	if !e.register(w) { // from here on others see the worker
		w.cancel()
		process.Reap()
		_ = socket.Close()
		return &picloud.Error{Code: picloud.CodeDraining}
	}
	e.watch.arm(e.now() + int64(e.opts.IdleTimeout))
	return nil
}

// send puts a flight into the table and on the wire, behind its program if the
// worker does not have that yet. It reports false, and has done nothing, when
// the worker accepts no further calls.
func (w *worker) send(fl *flight, slot uint32, mode wire.Mode, now int64) bool {
	f := fl.function
	w.mu.Lock()
	if !w.open.Load() {
		w.mu.Unlock()
		return false
	}
	for _, old := range w.unload {
		if w.programs[old].function != nil {
			w.programs[old] = loaded{}
			w.frames.Queue(wire.TypeUnload, uint64(old), nil)
		}
	}
	w.unload = w.unload[:0]
	for int(slot) >= len(w.programs) {
		w.programs = append(w.programs, loaded{})
	}
	if w.programs[slot].function != f || w.programs[slot].failed {
		w.load(f, slot, mode, now)
	}
	fl.deadline = now + fl.timeout
	if fl.loading = !w.programs[slot].ready; fl.loading {
		fl.deadline += int64(w.exec.hooks.LoadTimeout)
	}
	at := fl.deadline
	w.place(fl)
	if w.busy.Add(1) == 1 {
		w.share.wake(now, w.process.CPU)
		at = min(at, now+samplePause)
	}
	if w.running() == 1 {
		w.progress.Store(now)
	}
	w.mu.Unlock()

	w.exec.watch.arm(at)
	fl.invoke.Slot, fl.invoke.Timeout = slot, time.Duration(fl.timeout)
	// An error means that the worker is ending: finish answers the flight.
	_ = w.frames.Send(wire.TypeInvoke, fl.id, &fl.invoke)
	return true
}

// load queues the frames that put f into a slot. The caller holds mu, and sends
// a frame afterwards.
func (w *worker) load(f *Function, slot uint32, mode wire.Mode, now int64) {
	if w.programs[slot].function != nil {
		w.frames.Queue(wire.TypeUnload, uint64(slot), nil)
	}
	w.programs[slot] = loaded{function: f}
	deadline := now + int64(w.exec.hooks.LoadTimeout)
	w.loading = append(w.loading, load{slot, f, deadline})
	w.exec.watch.arm(deadline)
	p, l := &f.program, &f.program.Limits
	w.frames.Queue(wire.TypeLoad, uint64(slot), &wire.Load{
		Mode: mode, Function: p.Function, Version: p.Version, Digest: p.Digest, Source: p.Source,
		Timeout: w.exec.hooks.LoadTimeout, ResponseBody: int(l.ResponseBody), LogBytes: int(l.LogBytes), HostCalls: l.HostCalls, Env: f.env,
	})
}

// place gives a flight its place in the table and its id. The caller holds mu.
func (w *worker) place(fl *flight) {
	var at uint32
	if n := len(w.free); n > 0 {
		at, w.free = w.free[n-1], w.free[:n-1]
	} else {
		at = uint32(len(w.table))
		w.table = append(w.table, nil)
	}
	w.table[at] = fl
	w.generation++
	fl.id = uint64(w.generation)<<32 | uint64(at)
}

// find returns the flight with this id; nil: there is none. The caller holds mu.
func (w *worker) find(id uint64) *flight {
	at := uint32(id)
	if int(at) >= len(w.table) || w.table[at] == nil || w.table[at].id != id {
		return nil
	}
	return w.table[at]
}

// await waits for the answer of a flight that was sent.
func (w *worker) await(ctx context.Context, fl *flight) (*Result, error) {
	id := fl.id
	select {
	case <-fl.done:
	case <-ctx.Done():
		if w.abandon(fl) {
			_ = w.frames.Send(wire.TypeCancel, id, nil) // it fails when the worker ended: so did the call
			fl.drop()
			return nil, cancelled(ctx)
		}
		<-fl.done // the answer was faster
	}
	defer fl.drop()
	if fl.err != nil {
		if fl.abandoned {
			_ = w.frames.Send(wire.TypeCancel, id, nil)
		}
		return nil, fl.err
	}
	return w.conclude(fl)
}

// conclude turns the answer of a flight into what Invoke returns.
func (w *worker) conclude(fl *flight) (*Result, error) {
	if fl.answer == wire.TypeFailure {
		var reason wire.Failure
		err := reason.Decode(fl.payload.B)
		fl.payload.Release()
		if err != nil {
			return nil, w.misbehaved(err)
		}
		if l := fl.function.failure.Load(); reason.Reason == wire.ReasonNotLoaded && l != nil {
			reason = l.Failure
		}
		return nil, failed(reason, codes)
	}
	r, err := newResult(fl.payload)
	switch {
	case errors.Is(err, errUnusable):
		return nil, &picloud.Error{Code: picloud.CodeFunctionResponse, Detail: "its status or a header is not valid in HTTP"}
	case err != nil:
		return nil, w.misbehaved(err)
	case len(r.Body) > int(fl.function.program.Limits.ResponseBody):
		r.Release()
		return nil, &picloud.Error{
			Code:   picloud.CodeResponseTooLarge,
			Detail: "the response is over the limit of " + fl.function.program.Limits.ResponseBody.String(),
		}
	}
	return r, nil
}

// misbehaved ends the worker for what it answered, and returns the call's error.
func (w *worker) misbehaved(err error) error {
	w.exec.log.Warn("executor broke the protocol", slog.String("app", w.app), slog.Any("error", err))
	w.kill(causeProtocol)
	return workerFailure{cause: causeProtocol, limit: picloud.Size(w.memory)}.causeError()
}

// abandon notes that the caller of the flight no longer waits. The worker has
// cancelGrace to end the call. It reports false when the answer is there already.
func (w *worker) abandon(fl *flight) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fl.abandoned || w.find(fl.id) != fl {
		return false
	}
	w.markAbandoned(fl, w.exec.now())
	return true
}

// markAbandoned does the work of abandon. The caller holds mu.
func (w *worker) markAbandoned(fl *flight, now int64) {
	fl.abandoned = true
	if fl.loading { // a worker that boots or loads cannot answer yet: the load's deadline holds
		now = max(now, fl.deadline-fl.timeout)
	}
	fl.deadline = now + cancelGrace
	if !fl.loading {
		w.markOverdue(fl)
	}
	if fl.cancel != nil {
		fl.cancel()
	}
	w.exec.watch.arm(fl.deadline)
}

// markOverdue notes that a call is overdue. The caller holds mu.
func (w *worker) markOverdue(fl *flight) {
	fl.overdue = true
	if w.overdue.Add(1) == 1 {
		w.overdueEnded = make(chan struct{})
	}
}

// clearOverdue wakes the calls that wait in awaitOverdue. The caller holds mu.
func (w *worker) clearOverdue() {
	if w.overdueEnded != nil {
		close(w.overdueEnded)
		w.overdueEnded = nil
	}
}

// awaitOverdue waits until the overdue calls have ended, or the worker has.
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
		if fl.deadline <= now {
			if fl.abandoned {
				w.terminate(causeTimeout)
				return never
			}
			w.markAbandoned(fl, now)
			fl.err = timedOut(fl)
			fl.done <- struct{}{}
		}
		next = min(next, fl.deadline)
	}
	next = min(next, w.checkShare(now))
	if w.busy.Load() > 0 || w.pool == nil {
		return next
	}
	idle := w.last.Load() + int64(w.exec.opts.IdleTimeout)
	switch {
	case w.drainCause != causeNone:
		w.terminate(w.drainCause)
	case idle <= now || w.pool.gone.Load():
		w.terminate(causeIdle)
	default:
		return min(next, idle)
	}
	return never
}

// drain gives the worker no more calls, and ends it as soon as it is idle.
func (w *worker) drain(c cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open.Store(false)
	w.drainCause = c
	w.exec.watch.arm(w.exec.now())
}

// killIfIdle ends the worker now if no call is in it.
func (w *worker) killIfIdle(c cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy.Load() == 0 {
		w.terminate(c)
	}
}

// kill ends the worker now, with the calls in it.
func (w *worker) kill(c cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.terminate(c)
}

// terminate kills the process; the reading goroutine then sees the end of the socket
// and finishes the worker. The caller holds mu.
func (w *worker) terminate(c cause) {
	if w.dead.Swap(true) {
		return
	}
	w.open.Store(false)
	w.clearOverdue()
	w.why = c
	w.frames.Close(errEnded)
	w.process.Kill()
	// The socket may still hold answers that the worker sent before. It ends with
	// the process, unless a child process lives on: hence the deadline.
	_ = w.socket.SetReadDeadline(time.Now().Add(socketGrace))
}

// unloadLater has the worker unload a program before its next call.
func (w *worker) unloadLater(slot uint32, f *Function) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if int(slot) < len(w.programs) && w.programs[slot].function == f {
		w.unload = append(w.unload, slot)
	}
}

// running is how many calls take the processor, or wait for it.
func (w *worker) running() int32 { return w.busy.Load() - w.waiting.Load() }

// wait estimates how long a further call waits for n others. It is 0 while the worker
// boots, because another worker would not be ready sooner.
func (w *worker) wait(now int64, n int32) int64 {
	if !w.warm.Load() {
		return 0
	}
	return max(now-w.progress.Load(), int64(n)*w.interval.Load())
}
