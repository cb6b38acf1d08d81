package risor

import (
	"fmt"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/wire"
)

// hostCall asks the host for a function by its full name, with and for values.
func hostCall(c *Call, name string, args ...object.Object) (object.Object, error) {
	e := &cborEncoder{limit: wire.MaxHostArgs}
	e.head(cborArray, uint64(len(args)))
	for _, arg := range args {
		e.value(arg, 0)
	}
	kv := strings.HasPrefix(name, "kv.")
	switch {
	case e.full:
		code := "invalid_arguments"
		if kv {
			code = "kv_value_too_large"
		}
		return nil, &HostError{code, fmt.Sprintf("%s: the arguments have more than %d bytes", name, wire.MaxHostArgs)}
	case e.strict:
		code := "invalid_arguments"
		if kv {
			code = "kv_invalid_value"
		}
		return nil, &HostError{code, fmt.Sprintf("%s: an argument is not data, is text that is not UTF-8, or is too deep or too long", name)}
	}
	value, err := c.Host.Call(name, e.buf)
	if err != nil {
		return nil, err
	}
	v, err := readCBOR(value)
	if err != nil {
		return nil, &HostError{"internal", fmt.Sprintf("%s: %v", name, err)}
	}
	return v, nil
}

// ask is hostCall for a function of a module, by its own name, unless its
// arguments are wrong.
func (a *arguments) ask(args ...object.Object) (object.Object, error) {
	return a.askFor(a.module+"."+a.fn.Name, args...)
}

// askFor is ask for a function of another name.
func (a *arguments) askFor(name string, args ...object.Object) (object.Object, error) {
	if a.fault != nil {
		return nil, a.fault
	}
	return hostCall(callOf(a.ctx), name, args...)
}

// item reads a field of what the host answered; null if it has none.
func item(v object.Object, name string) object.Object {
	if m, ok := v.(*object.Map); ok {
		return m.Get(name)
	}
	return object.Nil
}
