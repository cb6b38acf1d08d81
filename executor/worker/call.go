package worker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/executor/risor"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/executor/wire"
)

// call is one invocation under way. Its memory is used again.
type call struct {
	worker  *worker
	id      uint64
	payload *wire.Buffer // holds the request
	request wire.Invocation
	program *program // nil: the slot is empty
	start   time.Time
	cancel  atomic.Bool
	engine  risor.Call
	result  wire.Result
	host    host
}

var calls = sync.Pool{New: func() any { return &call{} }}

func newCall(w *worker, id uint64, payload *wire.Buffer) *call {
	c := calls.Get().(*call)
	c.worker, c.id, c.payload = w, id, payload
	return c
}

// begin starts the clock.
func (c *call) begin() {
	c.start = time.Now()
	c.host.begin(c)
}

// halt stops the call as soon as it looks.
func (c *call) halt() {
	c.cancel.Store(true)
	c.host.wake()
}

// run answers the call and gives its memory back.
func (c *call) run() {
	w := c.worker
	err := c.invoke()
	w.mu.Lock()
	delete(w.calls, c.id)
	w.mu.Unlock()
	if c.host.call != nil {
		c.host.tally()
	}
	// Errors mean that the agent is gone, which the reader sees too.
	if err != nil {
		fault := asError(err)
		c.report(fault)
		failure := failureOf(fault)
		_ = w.frames.Send(wire.TypeFailure, c.id, &failure)
		if fault.Reason == wire.ReasonInternal {
			w.giveUp(fault)
		}
	} else {
		r := &c.engine.Response
		c.result = wire.Result{Status: r.Status, Header: r.Header, Body: r.Body}
		_ = w.frames.Send(wire.TypeResult, c.id, &c.result)
	}
	c.release()
}

func (c *call) release() {
	c.payload.Release()
	c.engine.Reset()
	c.host.end()
	c.worker, c.payload, c.program = nil, nil, nil
	c.request, c.result = wire.Invocation{}, wire.Result{}
	c.cancel.Store(false)
	calls.Put(c)
}

func (c *call) invoke() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &risor.Error{Reason: wire.ReasonInternal, Message: fmt.Sprintf("internal error: %v", r)}
		}
	}()
	p := c.program
	if p == nil {
		return &risor.Error{Reason: wire.ReasonNotLoaded, Message: "there is no program in the slot"}
	}
	if !p.ready.Load() {
		p.wait()
		c.start = time.Now() // loading has a time of its own
	}
	if p.fault != nil {
		fault := *p.fault
		fault.Reason = wire.ReasonNotLoaded
		return &fault
	}
	e := &c.engine
	e.Handler = trigger.Handlers[string(c.request.Trigger)]
	e.Request = &c.request
	e.App, e.Function, e.Version, e.Env = c.worker.app, p.load.Function, p.load.Version, p.env
	e.Deadline = c.start.Add(c.request.Timeout)
	e.Cancel, e.Host = &c.cancel, &c.host
	e.MaxResponse = p.load.ResponseBody
	return p.compiled.Invoke(e)
}

// report writes an error of the script to the app's log, with its place and trace. What
// the caller sent wrong is no error of the script.
func (c *call) report(fault *risor.Error) {
	switch fault.Reason {
	case wire.ReasonError, wire.ReasonResponse, wire.ReasonResponseTooLarge:
	default:
		return
	}
	fields := map[string]any{}
	if fault.Line > 0 {
		fields["at"] = fmt.Sprintf("%s.risor:%d:%d", c.program.load.Function, fault.Line, fault.Column)
	}
	if len(fault.Trace) > 1 { // a single call says no more than the place
		fields["trace"] = fault.Trace
	}
	var encoded []byte
	if len(fields) > 0 {
		encoded, _ = wire.Marshal(fields) // of these types it cannot fail
	}
	c.host.fail(fault.Message, encoded)
}

func asError(err error) *risor.Error {
	if e, ok := errors.AsType[*risor.Error](err); ok {
		return e
	}
	return &risor.Error{Reason: wire.ReasonInternal, Message: err.Error()}
}

func failureOf(e *risor.Error) wire.Failure {
	return wire.Failure{Reason: e.Reason, Message: e.Message, Line: e.Line, Column: e.Column, Excerpt: e.Excerpt}
}
