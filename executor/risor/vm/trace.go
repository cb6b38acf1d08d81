package vm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// maxTrace bounds the frames of a trace, innermost first.
const maxTrace = 16

var errStack = errors.New("stack overflow: too many values")

// Frame is one call of a trace. Line and Column count from 1; 0: unknown.
type Frame struct {
	Function string
	Line     int
	Column   int
}

// String returns "function (line:column)".
func (f Frame) String() string { return fmt.Sprintf("%s (%d:%d)", f.Function, f.Line, f.Column) }

// Trace says where an error was raised: at most the 16 innermost calls.
type Trace struct {
	Frames []Frame
	More   int // calls that are not listed
}

// String returns one line per call.
func (t *Trace) String() string {
	var b strings.Builder
	for _, f := range t.Frames {
		fmt.Fprintf(&b, "at %s\n", f)
	}
	if t.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", t.More)
	}
	return b.String()
}

func (t *Trace) innermost() Frame {
	if t == nil || len(t.Frames) == 0 {
		return Frame{}
	}
	return t.Frames[0]
}

// Error is how a run ends when the program does not catch an error, or is
// halted. Unwrap leads to ErrDeadline and ErrCancelled.
type Error struct {
	Message string
	Line    int // from 1; 0: unknown
	Column  int
	Trace   *Trace // nil: unknown
	Err     error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Message)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// failure ends a run with err.
func (m *Machine) failure(err error) error {
	if m.halted != nil {
		err = m.halted
	}
	e := &Error{Message: message(err), Trace: m.trace, Err: err}
	at := m.trace.innermost()
	e.Line, e.Column = at.Line, at.Column
	return e
}

// message is the text of err without the location that Risor puts behind it.
func message(err error) string {
	if s, ok := errors.AsType[*object.StructuredError](err); ok {
		return s.Kind.String() + ": " + s.Message
	}
	return err.Error()
}

// capture lists the calls that are under way.
func (m *Machine) capture() *Trace {
	t := &Trace{More: max(0, m.fp+1-maxTrace)}
	for i := m.fp; i >= t.More; i-- {
		f := &m.frames[i]
		at := f.code.source.LocationAt(max(0, f.ip-1))
		t.Frames = append(t.Frames, Frame{f.code.name(), at.Line, at.Column})
	}
	return t
}

// Returned is the place in the function of the last Call from which it returned.
func (m *Machine) Returned() Frame {
	f := &m.frames[m.fp+1]
	if f.code == nil {
		return Frame{}
	}
	at := f.code.source.LocationAt(max(0, f.ip-1))
	return Frame{f.code.name(), at.Line, at.Column}
}

// runtimeError makes an error of the machine itself, with the place that
// scripts get from its line(), column() and stack().
func (m *Machine) runtimeError(kind object.ErrorKind, format string, args ...any) error {
	m.trace = m.capture()
	stack := make([]object.StackFrame, len(m.trace.Frames))
	for i, f := range m.trace.Frames {
		stack[i] = object.StackFrame{Function: f.Function, Location: location(f)}
	}
	return object.NewStructuredErrorf(kind, location(m.trace.innermost()), stack, format, args...)
}

// located gives an operation's plain error the place it happened at.
func (m *Machine) located(err error) error {
	kind := object.ErrRuntime
	var (
		typeError  *object.TypeError
		valueError *object.ValueError
		indexError *object.IndexError
	)
	switch {
	case errors.As(err, &typeError):
		kind = object.ErrType
	case errors.As(err, &valueError), errors.As(err, &indexError):
		kind = object.ErrValue
	}
	text := err.Error()
	for _, prefix := range []string{"type error: ", "value error: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return m.runtimeError(kind, "%s", text)
}

func location(f Frame) object.SourceLocation {
	return object.SourceLocation{Line: f.Line, Column: f.Column}
}

func (m *Machine) unset(name string) error {
	return m.runtimeError(object.ErrName, "%q is used before it has a value", name)
}
