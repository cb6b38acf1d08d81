// Package executor runs functions in processes of their own. It is the agent's
// side: it starts a sandboxed worker for an app when the first call comes, sends
// calls to it as frames, bounds what they may use, ends what does not stop, and
// reaps what is idle. DESIGN.md beside this file says why it is as it is.
package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/spawn"
	"github.com/picloud/picloud/internal/hook"
	shares "github.com/picloud/picloud/internal/share"
)

// Executor runs the functions of one node. Make it with New, then Start it; Stop
// ends it for good.
type Executor struct {
	opts     Options
	hooks    hook.Executor // the timeouts are completed
	log      *slog.Logger
	metrics  *Metrics
	epoch    time.Time
	watch    *watch
	capacity capacity
	hosts    atomic.Int64   // host calls under way
	spawner  *spawn.Spawner // nil before Start
	places   *shares.Places // throw-away workers that may run at once
	mayRaise bool           // the priority of a worker whose was lowered

	state   atomic.Int32 // of type state
	calls   atomic.Int64 // between enter and leave
	drained chan struct{}

	mu      sync.Mutex       // taken after a pool's mu, before a worker's
	pools   map[string]*pool // by app
	workers map[*worker]struct{}
	running sync.WaitGroup // goroutines; they start under mu, and none after Stop
}

type state int32

const (
	stateNew state = iota
	stateStarting
	stateRunning
	stateDraining
	stateStopped
)

// New checks and completes the options. It starts nothing.
func New(opts Options) (*Executor, error) { return NewHooked(opts, hook.Executor{}) }

// NewHooked is New for tests: hooks change what production code must not.
func NewHooked(opts Options, hooks hook.Executor) (*Executor, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Executor{
		opts: opts, hooks: withDefaults(hooks), log: opts.Logger, metrics: opts.Metrics, epoch: time.Now(),
		places: shares.New(throwawayShares), drained: make(chan struct{}, 1),
		pools: map[string]*pool{}, workers: map[*worker]struct{}{}, mayRaise: os.Geteuid() == 0,
	}
	e.capacity.limit = opts.MemoryCap
	e.watch = newWatch(e.now, e.scan)
	return e, nil
}

// Start opens the worker's binary, finds out which sandbox this machine permits by
// starting a worker for a moment, and is then ready for calls. Where the sandbox is
// not enough, calls fail with CodeExecutor and the remedy. When ctx ends before the
// sandbox is known, Start returns its error and may be called again.
func (e *Executor) Start(ctx context.Context) error {
	if !e.state.CompareAndSwap(int32(stateNew), int32(stateStarting)) {
		return errors.New("start executor: it was started before")
	}
	spawner, err := spawn.New(spawn.Options{
		WorkerPath: e.opts.WorkerPath, WorkerArgs: e.opts.WorkerArgs, Sandbox: e.opts.Sandbox, MaxWorkers: e.opts.MaxWorkers, Logger: e.log,
	}, e.hooks.Spawn)
	if err != nil {
		e.state.Store(int32(stateNew))
		return &picloud.Error{
			Code: picloud.CodeExecutor, Op: "start executor", Resource: e.opts.WorkerPath, Err: err,
			Hint: "`make build` puts picloud-executor beside picloud",
		}
	}
	if err := spawner.Probe(ctx); err != nil {
		if ctx.Err() != nil {
			spawner.Close()
			e.state.Store(int32(stateNew))
			return fmt.Errorf("start executor: %w", err)
		}
		e.log.Error("no function can run on this node", slog.Any("error", err), slog.String("see", "picloud doctor"))
	}
	e.spawner = spawner
	e.state.Store(int32(stateRunning))
	return nil
}

// Sandbox returns what the workers of this node are kept in, as the last probe found
// it. It is empty before Start.
func (e *Executor) Sandbox() Sandbox {
	if e.spawner == nil {
		return Sandbox{Mode: e.opts.Sandbox}
	}
	return e.spawner.Sandbox()
}

// Stop refuses new calls, gives those under way 10 s to end, and
// ends all workers. It returns when every process is reaped and every goroutine
// has ended. Further calls return at once.
func (e *Executor) Stop() {
	if !e.state.CompareAndSwap(int32(stateRunning), int32(stateDraining)) {
		e.state.CompareAndSwap(int32(stateNew), int32(stateStopped))
		return
	}
	patience := time.NewTimer(e.hooks.DrainTimeout)
	defer patience.Stop()
	if e.calls.Load() > 0 {
		select {
		case <-e.drained:
		case <-patience.C:
		}
	}
	e.mu.Lock()
	e.state.Store(int32(stateStopped))
	for w := range e.workers {
		w.kill(causeStopped)
	}
	e.mu.Unlock()
	e.running.Wait()
	e.watch.stop()
	e.spawner.Close()
}

// Workers returns how many processes run functions now, and the sum of their memory limits
// in bytes.
func (e *Executor) Workers() (n int, memory int64) {
	for _, w := range e.everyWorker() {
		n++
		memory += w.memory
	}
	return n, memory
}

// enter counts a call in. It fails unless the executor runs.
func (e *Executor) enter() error {
	e.calls.Add(1)
	if s := state(e.state.Load()); s != stateRunning {
		e.leave()
		code := picloud.CodeDraining
		if s == stateNew || s == stateStarting {
			code = picloud.CodeStarting
		}
		return &picloud.Error{Code: code, RetryAfter: time.Second}
	}
	return nil
}

// leave counts a call out; the last one lets Stop go on.
func (e *Executor) leave() {
	if e.calls.Add(-1) == 0 && state(e.state.Load()) == stateDraining {
		select {
		case e.drained <- struct{}{}:
		default:
		}
	}
}

// now is the time since the executor was made, in nanoseconds. It never jumps.
func (e *Executor) now() int64 { return int64(time.Since(e.epoch)) }

// Function returns the handle of a program. It is cheap and starts nothing. A
// program that equals the present one of its name gets the same handle; a different
// program replaces it: the old handle still works, and the workers unload its code
// after its last call.
func (e *Executor) Function(p Program) *Function {
	e.mu.Lock()
	owner := e.pools[p.App]
	if owner == nil {
		owner = newPool(e, p.App)
		e.pools[p.App] = owner
	}
	e.mu.Unlock()
	return owner.define(p)
}

// Retain removes every app that is not in apps. The workers of a removed app end with
// the calls that still run.
func (e *Executor) Retain(apps map[string]struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, p := range e.pools {
		if _, ok := apps[name]; !ok {
			delete(e.pools, name)
			p.drain()
		}
	}
}

// register adds a worker and starts the goroutine that reads from it, for which Stop
// waits. It reports false when the executor has stopped.
func (e *Executor) register(w *worker) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if state(e.state.Load()) == stateStopped {
		return false
	}
	e.workers[w] = struct{}{}
	e.metrics.started(w)
	e.running.Go(w.read)
	return true
}

// unregister removes a worker. Its reading goroutine calls it last.
func (e *Executor) unregister(w *worker) {
	e.mu.Lock()
	delete(e.workers, w)
	e.mu.Unlock()
}

// runInBackground runs work in a goroutine for which Stop waits. It reports false when
// the executor has stopped.
func (e *Executor) runInBackground(work func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if state(e.state.Load()) == stateStopped {
		return false
	}
	e.running.Go(work)
	return true
}

// scan lets every worker look at its deadlines, and every pool at its load. It
// returns when something is due next.
func (e *Executor) scan(now int64) (next int64) {
	next = never
	for _, w := range e.everyWorker() {
		next = min(next, w.scan(now))
		if w.pool != nil {
			next = min(next, w.pool.scan(now))
		}
	}
	return next
}
