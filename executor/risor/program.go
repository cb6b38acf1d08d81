package risor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/risor/vm"
	"github.com/picloud/picloud/executor/wire"
)

// Program is a compiled script. It is immutable and serves any number of calls
// at once.
type Program struct {
	vm       *vm.Program
	source   string // for excerpts
	handlers []string
}

// Handlers returns the names of the handlers that the script defines.
func (p *Program) Handlers() []string { return slices.Clone(p.handlers) }

// Load runs the top level, as each call does, and checks that the handlers are
// functions that take what they are called with. Deploys call it once. Errors
// are of type *Error.
func (p *Program) Load(call *Call) error {
	m := vm.Get(p.vm, vm.Run{Deadline: call.Deadline, Cancel: call.Cancel, Env: &call.Access})
	defer m.Put()
	if err := m.Top(); err != nil {
		e := p.failure(err)
		switch e.Reason {
		case wire.ReasonTimeout:
			e.Reason, e.Message = wire.ReasonCompileBudget, "the top level of the script takes too long"
		case wire.ReasonError:
			e.Reason = wire.ReasonScript
		}
		return e
	}
	for _, name := range p.handlers {
		if _, err := p.handler(m, name); err != nil {
			return err
		}
	}
	return nil
}

// handler returns a handler after the top level has run.
func (p *Program) handler(m *vm.Machine, name string) (*object.Closure, *Error) {
	v := m.Global(name)
	fn, ok := v.(*object.Closure)
	if !ok {
		return nil, newError(wire.ReasonScript, fmt.Sprintf("%s is %s, not a function", name, data.Show(v)))
	}
	if fn.RequiredArgsCount() > 1 || fn.ParameterCount() < 1 && !fn.HasRestParam() {
		return nil, newError(wire.ReasonScript, fmt.Sprintf("%s takes %d parameters; it is called with one, as in: function %[1]s(req) {", name, fn.ParameterCount()))
	}
	return fn, nil
}

// Invoke runs the top level and then the handler, and fills call.Response. On
// errors, which are of type *Error, the response means nothing.
func (p *Program) Invoke(call *Call) (err error) {
	kind, ok := handlerNamed(call.Handler)
	if !ok || !slices.Contains(p.handlers, call.Handler) {
		return newError(wire.ReasonNoHandler, fmt.Sprintf("the script defines no %q", call.Handler))
	}
	m := vm.Get(p.vm, vm.Run{Deadline: call.Deadline, Cancel: call.Cancel, Env: &call.Access})
	defer m.Put()
	defer func() {
		// Conversion runs code of Risor's objects; the machine guards itself.
		if r := recover(); r != nil {
			err = newError(wire.ReasonError, fmt.Sprintf("internal error: %v", r))
		}
	}()
	if err := m.Top(); err != nil {
		return p.failure(err)
	}
	fn, fault := p.handler(m, call.Handler)
	if fault != nil {
		return fault
	}
	result, err := m.Call(fn, kind.argument(call))
	if err != nil {
		return p.failure(err)
	}
	if kind.respond {
		if fault := call.Response.fill(result, string(call.Request.Method) == "HEAD", call.MaxResponse); fault != nil {
			if at := m.Returned(); at.Line > 0 {
				return fault.at(p.source, at.Line, at.Column)
			}
			return fault
		}
	}
	if err := m.Err(); err != nil {
		return p.failure(err) // ready too late
	}
	return nil
}

// failure converts the error of a run.
func (p *Program) failure(err error) *Error {
	switch {
	case errors.Is(err, vm.ErrDeadline):
		return newError(wire.ReasonTimeout, "the function ran longer than its timeout")
	case errors.Is(err, vm.ErrCancelled):
		return newError(wire.ReasonCancelled, "the call was cancelled")
	}
	var run *vm.Error
	if !errors.As(err, &run) {
		return newError(wire.ReasonError, err.Error())
	}
	e := newError(wire.ReasonError, run.Message)
	if _, ok := errors.AsType[badRequest](run.Err); ok {
		e.Reason = wire.ReasonRequest
	}
	if run.Line > 0 {
		_ = e.at(p.source, run.Line, run.Column) // it returns e
	}
	if run.Trace != nil {
		for _, f := range run.Trace.Frames {
			e.Trace = append(e.Trace, f.String())
		}
		if run.Trace.More > 0 {
			e.Trace = append(e.Trace, fmt.Sprintf("and %d more", run.Trace.More))
		}
	}
	return e
}
