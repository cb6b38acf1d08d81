package executor

import (
	"errors"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
)

// codes maps a worker's reason for the failure of a call to the catalogue of errors.
var codes = map[wire.Reason]picloud.Code{
	wire.ReasonError:            picloud.CodeFunctionError,
	wire.ReasonTimeout:          picloud.CodeFunctionTimeout,
	wire.ReasonCancelled:        picloud.CodeCancelled,
	wire.ReasonNoHandler:        picloud.CodeNoHandler,
	wire.ReasonResponse:         picloud.CodeFunctionResponse,
	wire.ReasonResponseTooLarge: picloud.CodeResponseTooLarge,
	wire.ReasonScript:           picloud.CodeFunctionError,
	wire.ReasonSourceBounds:     picloud.CodeFunctionError,
	wire.ReasonCompileBudget:    picloud.CodeFunctionError,
	wire.ReasonNotLoaded:        picloud.CodeFunctionError,
	wire.ReasonInternal:         picloud.CodeFunctionCrash,
}

// compileCodes does the same for a source that is not deployed yet.
var compileCodes = map[wire.Reason]picloud.Code{
	wire.ReasonError:         picloud.CodeScript,
	wire.ReasonTimeout:       picloud.CodeCompileBudget,
	wire.ReasonScript:        picloud.CodeScript,
	wire.ReasonSourceBounds:  picloud.CodeSourceBounds,
	wire.ReasonCompileBudget: picloud.CodeCompileBudget,
	wire.ReasonNoHandler:     picloud.CodeNoHandler,
}

// fail adds the operation and the resource to an error of a call.
func (f *Function) fail(err error) error {
	var known *picloud.Error
	if !errors.As(err, &known) {
		known = &picloud.Error{Code: picloud.CodeInternal, Err: err}
	}
	if known.Op == "" {
		out := *known // errors of a worker's end are shared by its calls
		out.Op, out.Resource = "call function", f.resource
		known = &out
	}
	return known
}

// failed turns a worker's Failure into an error.
func failed(reason wire.Failure, codes map[wire.Reason]picloud.Code) *picloud.Error {
	code, ok := codes[reason.Reason]
	if !ok {
		code = picloud.CodeFunctionCrash
	}
	out := &picloud.Error{Code: code, Detail: strings.ToValidUTF8(reason.Message, "\uFFFD")}
	if reason.Line > 0 || code == picloud.CodeScript {
		out.Script = &picloud.ScriptError{
			Line: reason.Line, Column: reason.Column, Message: out.Detail,
			Excerpt: picloud.Shorten(strings.ToValidUTF8(reason.Excerpt, "\uFFFD"), 200),
		}
	}
	return out
}

func timedOut(fl *flight) *picloud.Error {
	return &picloud.Error{
		Code: picloud.CodeFunctionTimeout, Detail: "it ran longer than its timeout of " + fl.function.program.Limits.Timeout.String(),
		Hint: "return earlier, or raise timeout",
	}
}

// cause is why a worker ended.
type cause int

const (
	causeNone cause = iota
	causeIdle
	causeEvicted
	causeAbandoned
	causeReplaced
	causeThrowaway
	causeStopped
	causeTimeout
	causeLoadTimeout
	causeProtocol
	causeSandbox
	causeMemory
	causeCrash
)

// String returns the value of the metric's label.
func (c cause) String() string {
	return [...]string{
		"none", "idle", "evicted", "abandoned", "replaced", "throwaway", "stopped", "timeout", "load_timeout",
		"protocol", "sandbox", "memory_limit", "crash",
	}[c]
}

// counts reports whether an end of this cause counts for the circuit breaker.
func (c cause) counts() bool { return c >= causeLoadTimeout }
