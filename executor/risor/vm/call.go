package vm

import (
	"context"
	"fmt"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// call calls the function below the argc topmost values. A native one has
// returned afterwards; for one of the program there is a new frame.
func (m *Machine) call(argc int) error {
	callee := m.sp - argc - 1
	for {
		switch fn := m.stack[callee].(type) {
		case *object.Closure:
			return m.enter(fn, argc, false)
		case object.Callable:
			return m.native(fn, callee)
		case *object.Partial:
			if argc += len(fn.Args()); argc > maxArgs {
				return m.runtimeError(object.ErrRuntime, "max arguments limit of %d exceeded (got %d)", maxArgs, argc)
			}
			m.stack[callee] = fn.Function()
			for _, arg := range fn.Args() {
				m.push(arg)
			}
		default:
			return m.runtimeError(object.ErrType, "object is not callable (got %s)", m.stack[callee].Type())
		}
	}
}

// callSpread calls with the arguments of a list.
func (m *Machine) callSpread() error {
	top := m.pop()
	list, ok := top.(*object.List)
	if !ok {
		return m.runtimeError(object.ErrType, "spread call requires list of arguments (got %s)", top.Type())
	}
	limit := maxArgs
	if _, native := m.stack[m.sp-1].(*object.Builtin); native {
		limit = maxNativeArgs
	}
	if list.Size() > limit {
		return m.runtimeError(object.ErrRuntime, "max args limit of %d exceeded (got %d)", limit, list.Size())
	}
	for _, arg := range list.Value() {
		m.push(arg)
	}
	return m.call(list.Size())
}

// native calls a function that is not bytecode. Its arguments are a window of
// the stack: it may read them until it returns.
func (m *Machine) native(fn object.Callable, callee int) error {
	m.fuel -= nativeCost
	result, err := fn.Call(m.ctx, m.stack[callee+1:m.sp:m.sp]...)
	if m.halted != nil {
		return m.halted // even if it swallowed the error of a callback
	}
	if err != nil {
		return err
	}
	if result == nil {
		result = object.Nil
	}
	m.trace = nil // of an error that the native swallowed
	m.sp = callee
	m.push(result)
	return nil
}

// callClosure is how natives call back, and how a run begins.
func (m *Machine) callClosure(_ context.Context, fn *object.Closure, args []object.Object) (object.Object, error) {
	if m.halted != nil {
		return nil, m.halted
	}
	sp, fp, tries := m.sp, m.fp, len(m.tries)
	m.push(fn)
	for _, arg := range args {
		m.push(arg)
	}
	err := m.enter(fn, len(args), true)
	if err == nil {
		err = m.execute(m.fp)
	}
	if err != nil {
		m.sp, m.fp, m.tries = sp, fp, m.tries[:tries]
		return nil, err
	}
	result := m.pop()
	m.sp = sp
	return result, nil
}

// enter begins a frame for fn, whose argc arguments are on top of the stack,
// with fn or its like below them. The arguments become the first locals.
func (m *Machine) enter(fn *object.Closure, argc int, entry bool) error {
	if err := m.checkArgs(fn, argc); err != nil {
		return err
	}
	if m.fp+1 >= len(m.frames) {
		if len(m.frames) >= maxFrames {
			return m.runtimeError(object.ErrRuntime, "stack overflow: more than %d nested calls", maxFrames)
		}
		m.frames = append(m.frames, make([]frame, len(m.frames))...)
	}
	c := m.lookup(fn)
	first, filled := m.sp-argc, argc
	m.reserve(c.locals + 1)
	params := fn.ParameterCount()
	for ; filled < params; filled++ {
		m.stack[first+filled] = fn.Default(filled)
	}
	if fn.HasRestParam() {
		extra := append([]object.Object{}, m.stack[first+params:first+filled]...)
		m.stack[first+params] = object.NewList(extra)
		filled = params + 1
	}
	m.sp = first + c.locals
	if filled < c.locals {
		clear(m.stack[first+filled : m.sp])
	}
	if c.self >= 0 {
		m.stack[first+c.self] = fn
	}
	m.fp++
	m.deepest = max(m.deepest, m.fp)
	f := &m.frames[m.fp]
	*f = frame{
		code: c, fn: fn, callee: first - 1, entry: entry, tries: len(m.tries),
		locals: m.stack[first:m.sp:m.sp],
	}
	if c.scopes > 0 {
		f.scope = scopeOf(fn)
	}
	return nil
}

// leave returns from the frame, by way of the finally blocks around the return.
// It reports whether that ends the execute.
func (m *Machine) leave(value object.Object) (done bool) {
	f := &m.frames[m.fp]
	if len(m.tries) > f.tries && m.returnTo(f, value) {
		return false
	}
	m.stack[f.callee] = value
	m.sp = f.callee + 1
	m.fp--
	return f.entry
}

func (m *Machine) lookup(fn *object.Closure) *code {
	key := fn.Code()
	if key != m.lastKey {
		m.lastKey, m.lastCode = key, m.program.codes[key]
	}
	return m.lastCode
}

func (m *Machine) checkArgs(fn *object.Closure, argc int) error {
	params, required, rest := fn.ParameterCount(), fn.RequiredArgsCount(), fn.HasRestParam()
	if argc >= required && (argc <= params || rest) && argc <= maxArgs {
		return nil
	}
	what := "function"
	if name := fn.Name(); name != "" {
		what = fmt.Sprintf("function %q", name)
	}
	switch {
	case argc > maxArgs:
		return m.runtimeError(object.ErrRuntime, "max args limit of %d exceeded (got %d)", maxArgs, argc)
	case rest:
		return object.ArgsErrorf("args error: %s requires at least %d argument(s) (%d given)", what, required, argc)
	case params == 1:
		return object.ArgsErrorf("args error: %s takes 1 argument (%d given)", what, argc)
	}
	return object.ArgsErrorf("args error: %s takes %d arguments (%d given)", what, params, argc)
}
