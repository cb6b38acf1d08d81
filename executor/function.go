package executor

import (
	"context"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
)

// Program is one version of a function, as a node runs it.
type Program struct {
	App      string
	Function string
	Version  int
	Digest   picloud.Digest
	Source   []byte         // kept, and never changed
	Limits   picloud.Limits // completed
	// Shared says that Limits.Concurrency counts over several nodes: Function.Allot says how
	// many calls may run on this one. Until it is called, all of them may.
	Shared bool
	// Env are the variables that the script reads.
	Env picloud.Env
	// Grants say what the host may do for the program. They go to Host.Call as
	// they are; grants that differ (by ==) make a different program. Nil: none.
	Grants any
}

// same reports whether two programs of one name are the same.
func (p Program) same(q Program) bool {
	return p.Version == q.Version && p.Digest == q.Digest && p.Limits == q.Limits && p.Shared == q.Shared && p.Grants == q.Grants && maps.Equal(p.Env, q.Env)
}

// Function is the handle of a program. It is safe for concurrent use.
type Function struct {
	program  Program
	resource string // app/function, for errors
	env      []byte // Program.Env as the worker gets it
	pool     *pool
	gate     *gate        // of all versions
	calls    atomic.Int64 // that run or wait

	slot    atomic.Int32 // in the workers' program tables; noSlot: none yet
	used    atomic.Int64 // last call
	retired atomic.Bool  // replaced or released: the slot goes with the last call
	failure atomic.Pointer[wire.Loaded]
}

const noSlot = -1

// newFunction makes the handle of a program. Old is the one of its name that it replaces;
// nil: there is none.
func newFunction(p *pool, program Program, queueTimeout time.Duration, old *Function) *Function {
	f := &Function{program: program, resource: program.App + "/" + program.Function, pool: p}
	f.env = encodeEnv(program.Env)
	f.slot.Store(noSlot)
	if old == nil {
		f.gate = newGate(program.Limits.Concurrency, program.Limits.Queue, queueTimeout)
		return f
	}
	f.gate = old.gate
	f.gate.widen(program.Limits.Queue)
	if !program.Shared {
		f.gate.watch(nil)
		f.gate.resize(program.Limits.Concurrency, time.Time{})
	}
	return f
}

// encodeEnv returns the variables as wire.Load carries them.
func encodeEnv(env picloud.Env) []byte {
	if len(env) == 0 {
		return nil
	}
	values := make(map[string]any, len(env))
	for name, value := range env {
		values[name] = value
	}
	encoded, err := wire.Marshal(values)
	if err != nil || len(encoded) > wire.MaxEnv {
		return nil // cannot happen: Env.Check passed
	}
	return encoded
}

// Program returns what the handle stands for.
func (f *Function) Program() Program { return f.program }

// Invoke runs the function once and waits for its answer, at most for the
// function's timeout plus the time in its queue. The caller releases the result.
// Errors are *picloud.Error: what the function did (CodeFunctionError,
// CodeNoHandler, CodeFunctionResponse, CodeResponseTooLarge), what happened to
// it (CodeFunctionTimeout, CodeFunctionMemory, CodeFunctionCrash,
// CodeCancelled), or why it did not run (CodeQueueFull, CodeBreakerOpen,
// CodeNoMemory, CodeExecutor, CodeStarting, CodeDraining, CodeRequestTooLarge).
func (f *Function) Invoke(ctx context.Context, c *Call) (*Result, error) {
	e := f.pool.exec
	if err := e.enter(); err != nil {
		return nil, f.fail(err)
	}
	defer e.leave()
	f.calls.Add(1)
	if err := f.gate.acquire(ctx); err != nil {
		f.gone()
		return nil, f.fail(err)
	}
	r, runs, err := f.attempt(ctx, c)
	if errors.Is(err, errNotBegun) {
		r, runs, err = f.attempt(ctx, c)
	}
	if !runs {
		f.releasePlace()
	}
	if err != nil {
		return nil, f.fail(err)
	}
	return r, nil
}

// attempt sends the call to a worker. It reports in runs that the call may go on,
// and keeps its place in the gate until it has ended.
func (f *Function) attempt(ctx context.Context, c *Call) (r *Result, runs bool, err error) {
	fl := newFlight(f, c)
	if err := fl.invoke.CheckSize(); err != nil || len(c.Body) > int(f.program.Limits.RequestBody) {
		flightNeverSent(fl)
		return nil, false, &picloud.Error{
			Code: picloud.CodeRequestTooLarge, Err: err,
			Detail: "the request is over the limits of headers (1 MiB) or body (" + f.program.Limits.RequestBody.String() + ")",
		}
	}
	fl.timeout = f.timeout(c)
	return f.pool.call(ctx, fl)
}

// timeout is what a call may take, in nanoseconds.
func (f *Function) timeout(c *Call) int64 {
	timeout := time.Duration(f.program.Limits.Timeout)
	if !c.Deadline.IsZero() {
		timeout = min(timeout, time.Until(c.Deadline))
	}
	return int64(max(timeout, time.Millisecond))
}

// Release tells that the handle is no longer needed: the workers unload the program
// after its last call. A call that comes later still works, and loads it again.
func (f *Function) Release() { f.pool.release(f) }

// Allot says how many calls of all versions may run on this node, until a time: from then
// on none may begin. The zero time: for good. Calls that run go on. It is for programs that
// are Shared.
func (f *Function) Allot(n int, until time.Time) { f.gate.resize(n, until) }

// Watch makes the function call short each time that a call of it does not find a place
// at once. It must not block.
func (f *Function) Watch(short func()) { f.gate.watch(short) }

// Demand returns how many calls of all versions run and wait, and the most that did at
// once since it was last called.
func (f *Function) Demand() (running, waiting, peak int) { return f.gate.load() }

// Load returns how many calls of all versions run and wait.
func (f *Function) Load() (running, waiting int) { return f.gate.occupied() }

// releasePlace gives the call's place in the gate back.
func (f *Function) releasePlace() {
	f.gate.release()
	f.gone()
}

// gone counts a call out.
func (f *Function) gone() {
	if f.calls.Add(-1) == 0 && f.retired.Load() {
		f.pool.vacate(f)
	}
}

// idle reports whether no call runs or waits.
func (f *Function) idle() bool { return f.calls.Load() == 0 }

// flightNeverSent recycles a flight that no worker got.
func flightNeverSent(fl *flight) {
	fl.drop()
	fl.drop()
}
