package vm

import (
	"errors"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// Coded is implemented by errors of native functions that have a stable code.
type Coded interface {
	error
	ErrorCode() string
}

// Caught is what a catch block gets: Risor's error value, and on top a code
// attribute (null for errors without one) and the line of any error.
type Caught struct {
	*object.Error
	code string
	at   Frame
}

func newCaught(err error, trace *Trace) *Caught {
	c := &Caught{Error: object.NewError(err), at: trace.innermost()}
	if coded, ok := errors.AsType[Coded](err); ok {
		c.code = coded.ErrorCode()
	}
	return c
}

// GetAttr implements object.Object.
func (c *Caught) GetAttr(name string) (object.Object, bool) {
	switch {
	case name == "code" && c.code == "":
		return object.Nil, true
	case name == "code":
		return object.NewString(c.code), true
	case (name == "line" || name == "column") && c.Structured() == nil:
		plain := object.NewStructuredError(object.ErrRuntime, "", location(c.at), nil)
		return object.NewErrorFromStructured(plain).GetAttr(name)
	}
	return c.Error.GetAttr(name)
}

// Attrs implements object.Object.
func (c *Caught) Attrs() []object.AttrSpec {
	return append(c.Error.Attrs(), object.AttrSpec{Name: "code", Doc: "Stable code of a host function's error, or null", Returns: "string"})
}

// Equals implements object.Object.
func (c *Caught) Equals(other object.Object) bool {
	if o, ok := other.(*Caught); ok {
		other = o.Error
	}
	return c.Error.Equals(other)
}
