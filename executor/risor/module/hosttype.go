package module

import (
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"
)

// Type is a kind of value that functions of a module return.
type Type struct {
	Name    string // as type() tells it
	Self    string // what examples call a value: "t"
	Doc     string
	Members []Function
	Example string // as that of a Function
}

// attr reads a member of a value.
func (t *Type) attr(self object.Object, name string) (object.Object, bool) {
	for i := range t.Members {
		f := &t.Members[i]
		if f.Name != name {
			continue
		}
		if !f.Value {
			return f.object(t.Name, self), true
		}
		v, err := f.call(&arguments{module: t.Name, fn: f, self: self})
		if err != nil {
			return object.Nil, true
		}
		return v, true
	}
	return nil, false
}

// specs documents the members for dir() and its like.
func (t *Type) specs() []object.AttrSpec {
	specs := make([]object.AttrSpec, len(t.Members))
	for i, f := range t.Members {
		specs[i] = object.AttrSpec{Name: f.Name, Doc: f.Doc, Returns: f.Returns}
	}
	return specs
}

// readonly is what values of the host have in common: scripts read them.
type readonly struct{}

// SetAttr implements object.Object.
func (readonly) SetAttr(name string, _ object.Object) error {
	return object.TypeErrorf("it is read-only (setting %q)", name)
}

// IsTruthy implements object.Object.
func (readonly) IsTruthy() bool { return true }

// RunOperation implements object.Object.
func (readonly) RunOperation(kind op.BinaryOpType, _ object.Object) (object.Object, error) {
	return nil, object.TypeErrorf("unsupported operation: %v", kind)
}

// example joins the lines of an example.
func example(l ...string) string { return strings.Join(l, "\n") }
