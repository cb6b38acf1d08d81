package vm

import "github.com/deepnoodle-ai/risor/v2/pkg/object"

// scope is a frame that outlives its call, because a function inside a function
// inside it uses its variables. The compiler counts frames outwards to find
// such a variable; Risor's machine counts along the callers instead.
//
// It hides in a closure as one more captured variable, behind those that the
// compiler knows of.
type scope struct {
	*object.NilType
	locals []object.Object
	parent *scope
}

// capture moves the frame's locals to memory of their own, where they outlive
// the call.
func (f *frame) capture() []object.Object {
	if !f.captured {
		f.locals = append([]object.Object(nil), f.locals...)
		f.captured = true
	}
	return f.locals
}

// cell makes the variable capturable; back counts frames outwards.
func (f *frame) cell(index, back int) *object.Cell {
	if back == 0 {
		return object.NewCell(&f.capture()[index])
	}
	s := f.scope
	for range back - 1 {
		s = s.parent
	}
	return object.NewCell(&s.locals[index])
}

// closure makes a function value that captures cells, and the frame itself when
// scoped.
func (f *frame) closure(fn *object.Closure, cells []*object.Cell, scoped bool) *object.Closure {
	if scoped {
		var s object.Object = &scope{locals: f.capture(), parent: f.scope}
		cells = append(cells, object.NewCell(&s))
	}
	return object.CloneWithCaptures(fn, cells)
}

// scopeOf returns the frame in which a scoped function was made.
func scopeOf(fn *object.Closure) *scope {
	s, _ := fn.FreeVar(fn.FreeVarCount() - 1).Value().(*scope)
	return s
}
