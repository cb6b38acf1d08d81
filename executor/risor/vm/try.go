package vm

import (
	"errors"

	"github.com/deepnoodle-ai/risor/v2/pkg/bytecode"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// try is a try expression that is being evaluated: its body, its catch block if
// there is a finally block behind, or its finally block if that was entered by
// an error or a return. Which of them is told by the instruction pointer.
type try struct {
	handler *bytecode.ExceptionHandler
	sp      int           // of the stack when it began
	err     error         // raised again at the end of the finally block
	trace   *Trace        // where err came from
	ret     object.Object // returned at the end of the finally block
}

// catch looks for a handler in the frames from the running one down to base,
// and leaves the machine there. It reports false if there is none.
func (m *Machine) catch(base int, err error) bool {
	if m.halted != nil {
		return false
	}
	if m.trace == nil {
		m.trace = m.capture()
	}
	for ; ; m.fp-- {
		f := &m.frames[m.fp]
		if m.enterHandler(f, err) {
			return true
		}
		if m.fp == base {
			return false
		}
		m.sp = f.callee
	}
}

// enterHandler ends tries of the frame until one handles the error.
func (m *Machine) enterHandler(f *frame, err error) bool {
	for len(m.tries) > f.tries {
		t := &m.tries[len(m.tries)-1]
		h, at := t.handler, f.ip-1
		hasFinally := h.FinallyStart > 0
		catchEnd := h.TryEnd
		if hasFinally {
			catchEnd = h.FinallyStart
		}
		switch {
		case at < h.CatchStart && h.CatchStart < catchEnd:
			caught := newCaught(err, m.trace)
			m.trace = nil
			m.sp = t.sp
			m.push(caught)
			f.ip = h.CatchStart
			if !hasFinally {
				m.tries = m.tries[:len(m.tries)-1]
			}
			return true
		case hasFinally && at < h.FinallyStart:
			t.err, t.trace, t.ret = err, m.trace, nil
			m.trace = nil
			m.sp = t.sp
			f.ip = h.FinallyStart
			return true
		}
		m.tries = m.tries[:len(m.tries)-1]
	}
	return false
}

// returnTo ends tries of the frame that a return leaves. It reports whether
// there is a finally block to run first.
func (m *Machine) returnTo(f *frame, value object.Object) bool {
	for len(m.tries) > f.tries {
		t := &m.tries[len(m.tries)-1]
		if h := t.handler; h.FinallyStart > 0 && f.ip-1 < h.FinallyStart {
			t.ret, t.err, t.trace = value, nil, nil
			m.sp = t.sp
			f.ip = h.FinallyStart
			return true
		}
		m.tries = m.tries[:len(m.tries)-1]
	}
	return false
}

// endFinally goes on with what led to the finally block, if anything did. It
// reports whether that ended the execute.
func (m *Machine) endFinally(f *frame) (done bool, err error) {
	n := len(m.tries)
	if n == f.tries || m.tries[n-1].handler.TryEnd != f.ip {
		return false, nil // the body was left the normal way, the handler is gone
	}
	t := m.tries[n-1]
	m.tries = m.tries[:n-1]
	switch {
	case t.err != nil:
		m.trace = t.trace
		return false, t.err
	case t.ret != nil:
		return m.leave(t.ret), nil
	}
	return false, nil
}

// thrown converts a thrown value to the error that travels.
func thrown(v object.Object) error {
	switch v := v.(type) {
	case *Caught:
		return v.Value()
	case *object.Error:
		return v.Value()
	case *object.String:
		return errors.New(v.Value())
	}
	return errors.New(v.Inspect())
}
