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

	open atomic.Bool // takes further calls
	dead atomic.Bool // is being killed
	// Its memory was given back. A dead worker without it has memory that is becoming free.
	freed atomic.Bool
	busy  atomic.Int32 // calls in the table
	// Calls of busy that wait for the host. They take no processor.
	waiting    atomic.Int32
	consulting atomic.Int32 // host calls that the host works on
	last       atomic.Int64 // when the last call ended

	// Calls of busy that their callers no longer wait for; see deadline.go.
	abandoned atomic.Int32 // all of them
	stuck     atomic.Int32 // that go on after their cancel; their own deadlines hold
	overdue   atomic.Int32 // over their deadline; they have cancelGrace to end
	overran   atomic.Bool  // a call did not end: the worker ends with its last awaited call

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
	overrunEnd int64     // when a worker that overran ends at the latest
	culprit    culprit   // the call that it overran with
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
	fl.due = fl.deadline
	at := fl.due
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

// await waits for the answer of a flight that was sent. It reports in runs that
// the call may go on without its caller: the flight then gives the call's place
// in the gate back when it has ended.
func (w *worker) await(ctx context.Context, fl *flight) (r *Result, runs bool, err error) {
	select {
	case <-fl.done:
	case <-ctx.Done():
		if w.abandon(fl) {
			return nil, true, w.cancelFlight(fl, cancelled(ctx))
		}
		<-fl.done // the answer was faster
	}
	if fl.abandoned { // at its deadline
		return nil, true, w.cancelFlight(fl, fl.err)
	}
	defer fl.drop()
	if fl.err != nil {
		return nil, false, fl.err
	}
	r, err = w.conclude(fl)
	return r, false, err
}

// cancelFlight tells the worker that nobody waits for the flight any more, and
// gives the caller's ownership up. The request is not kept with the flight: its
// memory is the caller's. cancelFlight returns err.
func (w *worker) cancelFlight(fl *flight, err error) error {
	fl.invoke.Header, fl.invoke.Body = nil, nil
	_ = w.frames.Send(wire.TypeCancel, fl.id, nil) // it fails when the worker ended: so did the call
	fl.drop()
	return err
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
		} else if reason.Reason == wire.ReasonTimeout { // the worker noticed it first
			return nil, timedOut(fl)
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

// drain gives the worker no more calls, and ends it as soon as it is idle.
func (w *worker) drain(c cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open.Store(false)
	w.drainCause = c
	w.exec.watch.arm(w.exec.now())
}

// killIfIdle ends the worker now if nobody waits for a call in it.
func (w *worker) killIfIdle(c cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.awaited() == 0 {
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
