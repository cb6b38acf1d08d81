package executor

import (
	"errors"
	"fmt"
	"time"

	"github.com/picloud/picloud"
)

// errNotBegun says that a call's worker ended before it ran any of the
// function's code for it, so that it may be sent to another one.
var errNotBegun = errors.New("the call had not begun")

// workerFailure is the end of a worker as its calls see it: which of them may have
// caused it, and the error that each of them gets.
type workerFailure struct {
	cause    cause
	limit    picloud.Size
	loadTime picloud.Duration // that a load may take
	running  int              // calls that took the processor: each of them may be the cause
	loading  *Function        // the worker was loading its program; nil: none
	loadOnly bool             // no call ran, so the load is the cause
}

// failureOf describes the end of the worker. The caller holds mu, and calls it
// before it takes any call out of the table.
func (w *worker) failureOf(c cause) workerFailure {
	f := workerFailure{cause: c, limit: picloud.Size(w.memory), loadTime: picloud.Duration(w.exec.hooks.LoadTimeout)}
	for _, fl := range w.table {
		if fl != nil && !fl.loading && fl.asking == 0 {
			f.running++
		}
	}
	if len(w.loading) > 0 {
		f.loading, f.loadOnly = w.loading[0].function, f.running == 0
	}
	return f
}

// errorFor returns the error of a call whose caller still waits.
func (f workerFailure) errorFor(fl *flight) *picloud.Error {
	switch f.cause {
	case causeStopped:
		return &picloud.Error{Code: picloud.CodeDraining, Detail: "the node stopped before the function answered"}
	case causeSandbox:
		return &picloud.Error{Code: picloud.CodeExecutor, Detail: "the executor ended before it was ready", Hint: "run `picloud doctor`"}
	}
	if f.mayHaveCaused(fl) {
		return f.causeError()
	}
	out := &picloud.Error{
		Code: picloud.CodeInterrupted, RetryAfter: time.Second,
		Detail: "another call of the app ended the executor: " + f.reason(),
		Hint:   "repeat the call if it may run twice: it had begun",
	}
	if fl.loading {
		out.Err, out.Hint = errNotBegun, ""
	}
	return out
}

// mayHaveCaused reports whether the worker may have ended because of this call.
func (f workerFailure) mayHaveCaused(fl *flight) bool {
	switch {
	case f.cause == causeTimeout:
		return false // the call that overran is abandoned, and its caller has an answer
	case fl.loading && f.cause == causeLoadTimeout, fl.loading && f.loadOnly:
		return fl.function == f.loading
	case f.cause == causeLoadTimeout:
		return false
	case f.cause == causeProtocol:
		return true // a hostile worker speaks for any of its calls
	}
	return !fl.loading && fl.asking == 0
}

// reason says what ended the worker.
func (f workerFailure) reason() string {
	switch f.cause {
	case causeTimeout:
		return "it did not stop at its deadline"
	case causeLoadTimeout:
		return "its script took too long to load"
	case causeMemory:
		return "it went over the memory limit of " + f.limit.String()
	case causeProtocol:
		return "it broke the protocol"
	}
	return "it crashed"
}

// causeError returns the error of a call that may have ended the worker.
func (f workerFailure) causeError() *picloud.Error {
	among := ""
	if f.running > 1 {
		among = fmt.Sprintf(", in which %d calls ran,", f.running)
	}
	switch f.cause {
	case causeMemory:
		return &picloud.Error{
			Code: picloud.CodeFunctionMemory, Detail: "the app's executor" + among + " went over its limit of " + f.limit.String(),
			Hint: "hold less at once, or raise memory",
		}
	case causeLoadTimeout:
		return &picloud.Error{Code: picloud.CodeFunctionTimeout, Detail: "loading the script took longer than the limit of " + f.loadTime.String(), Hint: "move work from the top level into the handler"}
	case causeProtocol:
		return &picloud.Error{Code: picloud.CodeFunctionCrash, Detail: "the executor" + among + " was ended because it broke the protocol"}
	}
	return &picloud.Error{
		Code: picloud.CodeFunctionCrash, Detail: "the executor" + among + " ended while the function ran",
		Hint: "`picloud logs` shows its last words, and what ran in it",
	}
}
