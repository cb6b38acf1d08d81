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

// obituary says what the end of a worker means for the calls in it.
type obituary struct {
	cause    cause
	limit    picloud.Size
	running  int       // calls that took the processor: each may be the one that it died of
	loading  *Function // whose program it was loading; nil: none
	loadOnly bool      // nothing else ran, so that it died of the load
}

// obituary describes the end that the worker met. The caller holds mu, and has
// taken no call out of the table yet.
func (w *worker) obituary(c cause) obituary {
	o := obituary{cause: c, limit: picloud.Size(w.memory)}
	for _, fl := range w.table {
		if fl != nil && !fl.loading && fl.asking == 0 {
			o.running++
		}
	}
	if len(w.loading) > 0 {
		o.loading, o.loadOnly = w.loading[0].function, o.running == 0
	}
	return o
}

// of is the error of a call that nobody has given up.
func (o obituary) of(fl *flight) *picloud.Error {
	switch o.cause {
	case causeStopped:
		return &picloud.Error{Code: picloud.CodeDraining, Detail: "the node stopped before the function answered"}
	case causeSandbox:
		return &picloud.Error{Code: picloud.CodeExecutor, Detail: "the executor ended before it was ready", Hint: "run `picloud doctor`"}
	}
	if o.blames(fl) {
		return o.guilty()
	}
	out := &picloud.Error{
		Code: picloud.CodeFunctionCrash, RetryAfter: time.Second,
		Detail: "another call of the app ended the executor: " + o.deed(),
	}
	if fl.loading {
		out.Err = errNotBegun
	}
	return out
}

// blames reports whether the worker may have died of this call.
func (o obituary) blames(fl *flight) bool {
	switch {
	case o.cause == causeTimeout:
		return false // the one that overran was given up
	case fl.loading && o.cause == causeLoadTimeout, fl.loading && o.loadOnly:
		return fl.function == o.loading
	case o.cause == causeLoadTimeout:
		return false
	}
	return !fl.loading && fl.asking == 0
}

// deed is what ended the worker.
func (o obituary) deed() string {
	switch o.cause {
	case causeTimeout:
		return "it did not stop at its deadline"
	case causeLoadTimeout:
		return "its script took too long to load"
	case causeMemory:
		return "it went over the memory limit of " + o.limit.String()
	case causeProtocol:
		return "it broke the protocol"
	}
	return "it crashed"
}

// guilty is the error of a call that the worker died of.
func (o obituary) guilty() *picloud.Error {
	among := ""
	if o.running > 1 {
		among = fmt.Sprintf(", in which %d calls ran,", o.running)
	}
	switch o.cause {
	case causeMemory:
		return &picloud.Error{
			Code: picloud.CodeFunctionMemory, Detail: "the app's executor" + among + " went over its limit of " + o.limit.String(),
			Hint: "hold less at once, or raise memory",
		}
	case causeLoadTimeout:
		return &picloud.Error{Code: picloud.CodeFunctionTimeout, Detail: "loading the script took too long", Hint: "move work from the top level into the handler"}
	case causeProtocol:
		return &picloud.Error{Code: picloud.CodeFunctionCrash, Detail: "the executor" + among + " was ended because it broke the protocol"}
	}
	return &picloud.Error{Code: picloud.CodeFunctionCrash, Detail: "the executor" + among + " ended while the function ran"}
}
