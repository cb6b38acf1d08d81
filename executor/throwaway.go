package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
	shares "github.com/picloud/picloud/internal/share"
)

// maxThrowaway is how many throw-away workers run at once.
const maxThrowaway = 2

// throwawayShares divide them among those for whom work is done (shares.With), such as
// the users of the control API: one who has a place leaves the last one to the others,
// and has a bounded number of places in the queue.
var throwawayShares = shares.Options{Total: maxThrowaway, Each: []int{maxThrowaway}, Kept: 1, Waiting: 64, Queue: 256}

// maxDraftLogs is how many records of a draft run are kept.
const maxDraftLogs = 1000

// Compile checks a script that nobody deployed yet: bounds, syntax, and a run of
// its top level, in a worker of its own that is ended afterwards. name is the
// function's, for messages. Errors are *picloud.Error: CodeScript,
// CodeSourceBounds and CodeCompileBudget are the script's fault, CodeBusy,
// CodeNoMemory and CodeExecutor the node's.
func (e *Executor) Compile(ctx context.Context, source []byte, name string) (picloud.Compiled, error) {
	limits := picloud.DefaultLimits()
	f := newFunction(nil, Program{Function: name, Digest: picloud.DigestOf(source), Source: source, Limits: limits}, 0, nil)
	var out picloud.Compiled
	err := e.throwaway(ctx, &f.program, nil, func(w *worker) error {
		w.mu.Lock()
		w.programs = append(w.programs, loaded{})
		w.load(f, 0, wire.ModeCompile, e.now())
		w.mu.Unlock()
		if err := w.frames.Flush(); err != nil {
			return w.causeOf(err)
		}
		select {
		case answer := <-w.loads:
			if answer.Reason != wire.ReasonNone {
				return failed(answer.Failure, compileCodes)
			}
			out.Handlers = answer.Handlers
			return nil
		case <-w.ended:
			return w.causeOf(errEnded)
		case <-ctx.Done():
			return cancelled(ctx)
		}
	})
	if err != nil {
		return picloud.Compiled{}, describe(err, "compile script", name)
	}
	return out, nil
}

// Draft compiles a script and runs it once, in a worker of its own, as if it
// were the program that p describes: the script sees its names, variables and grants.
// p.Digest need not be set; limits that are not set have their defaults. Draft returns what the script logged also when it
// fails. Beside the errors of Compile there are those of Function.Invoke. The
// caller releases the result.
func (e *Executor) Draft(ctx context.Context, p Program, c *Call) (*Result, []picloud.LogRecord, error) {
	p.Limits = p.Limits.WithDefaults()
	p.Digest = picloud.DigestOf(p.Source)
	p.Function = cmp.Or(p.Function, "draft")
	f := newFunction(nil, p, 0, nil)
	logs := &draftLogs{}
	var out *Result
	err := e.throwaway(ctx, &f.program, logs, func(w *worker) error {
		fl := newFlight(f, c)
		if err := fl.invoke.CheckSize(); err != nil || len(c.Body) > int(p.Limits.RequestBody) {
			flightNeverSent(fl)
			return &picloud.Error{Code: picloud.CodeRequestTooLarge, Err: err}
		}
		fl.timeout = f.timeout(c)
		if !w.send(fl, 0, loadDraft, e.now()) {
			flightNeverSent(fl)
			return w.causeOf(errEnded)
		}
		result, _, err := w.await(ctx, fl)
		if l := f.failure.Load(); l != nil {
			err = failed(l.Failure, compileCodes)
		}
		out = result
		return w.causeOf(err)
	})
	if err != nil {
		out.Release()
		return nil, logs.records(), describe(err, "run draft", "")
	}
	return out, logs.records(), nil
}

// place waits for a place for a throw-away worker, and returns what gives it back.
func (e *Executor) place(ctx context.Context) (leave func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, e.hooks.CompileWait)
	defer cancel()
	leave, err = e.places.Wait(waiting, shares.Holder(ctx))
	switch {
	case err == nil:
		return leave, nil
	case errors.Is(err, shares.ErrFull):
		return nil, &picloud.Error{
			Code: picloud.CodeBusy, Detail: "too many others, of yours or of all, wait for a place", RetryAfter: time.Second,
		}
	case ctx.Err() != nil:
		return nil, cancelled(ctx)
	}
	return nil, &picloud.Error{Code: picloud.CodeBusy, Detail: "waited " + e.hooks.CompileWait.String() + " for a place", RetryAfter: time.Second}
}

// throwaway gives work a fresh worker for the program, and ends the worker afterwards.
// throwawayShares bound how many run at once.
func (e *Executor) throwaway(ctx context.Context, p *Program, sink LogSink, work func(*worker) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	leave, err := e.place(ctx)
	if err != nil {
		return err
	}
	defer leave()
	memory := int64(p.Limits.Memory)
	if err := e.reserve(ctx, memory, e.hooks.MemoryWait); err != nil {
		return err
	}
	uid, ok := e.spawner.AcquireUID()
	if !ok {
		e.capacity.release(memory)
		return e.noMemory(memory)
	}
	defer e.spawner.ReleaseUID(uid)
	w := newWorker(e, p.App, memory)
	w.uid, w.sink, w.loads = uid, sink, make(chan wire.Loaded, 1)
	if err := w.start(); err != nil {
		e.capacity.release(memory)
		return err
	}
	defer func() {
		w.kill(causeThrowaway)
		<-w.ended
	}()
	return work(w)
}

// causeOf returns the error of a throw-away worker's work. If the script ended the
// worker, it returns the reason for that instead.
func (w *worker) causeOf(err error) error {
	if err == nil {
		return nil
	}
	w.mu.Lock()
	why, loading := w.why, len(w.loading) > 0
	w.mu.Unlock()
	switch {
	case why == causeLoadTimeout:
		return &picloud.Error{
			Code: picloud.CodeCompileBudget, Detail: "compiling and loading took longer than " + w.exec.hooks.LoadTimeout.String(),
			Hint: "make the script smaller, or move work from the top level into the handler",
		}
	case loading && (why == causeMemory || why == causeCrash):
		return &picloud.Error{
			Code: picloud.CodeCompileBudget, Detail: "compiling and loading ended the executor: " + workerFailure{cause: why, limit: picloud.Size(w.memory)}.reason(),
			Hint: "make the script smaller, or move work from the top level into the handler",
		}
	case errors.Is(err, errEnded):
		return workerFailure{cause: why, limit: picloud.Size(w.memory)}.errorFor(&flight{})
	}
	return err
}

// describe adds the operation and the resource to an error.
func describe(err error, op, resource string) error {
	var known *picloud.Error
	if !errors.As(err, &known) {
		return &picloud.Error{Code: picloud.CodeInternal, Op: op, Resource: resource, Err: err}
	}
	if known.Op != "" {
		return err
	}
	out := *known
	out.Op, out.Resource = op, resource
	return &out
}

// draftLogs collects the records of a draft run.
type draftLogs struct {
	mu      sync.Mutex
	list    []picloud.LogRecord
	missing int64 // records beyond maxDraftLogs
}

// Log implements LogSink.
func (l *draftLogs) Log(_ string, rec picloud.LogRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) < maxDraftLogs {
		l.list = append(l.list, rec)
		return
	}
	l.missing++
}

// records returns what was collected.
func (l *draftLogs) records() []picloud.LogRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.missing == 0 {
		return l.list
	}
	return append(slices.Clip(l.list), picloud.LogRecord{
		Time: time.Now().UTC(), Level: wire.LevelWarn.String(), Missing: l.missing,
		Message: fmt.Sprintf("%d more records are left out: a test keeps the first %d", l.missing, maxDraftLogs),
	})
}
