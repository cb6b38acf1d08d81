package module

import (
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/internal/value"
)

// question is a host call with its arguments, such as a hostcall.Set.
type question interface {
	// Append writes the arguments.
	Append(dst []byte) []byte
}

// ask asks the host, unless an argument was wrong.
func (a *arguments) ask(name string, q question) (object.Object, error) {
	if a.fault != nil {
		return nil, a.fault
	}
	return hostCall(AccessOf(a.ctx), name, q)
}

// hostCall asks the host for a call.
func hostCall(c *Access, name string, q question) (object.Object, error) {
	// The worker checks its arguments as the node does: the node ends a worker whose
	// arguments are malformed.
	args := q.Append(nil)
	if len(args) > hostcall.MaxArguments {
		return nil, argumentsTooLarge(name)
	}
	if _, err := value.Check(args); err != nil {
		return nil, argumentsNotData(name)
	}
	answer, err := c.Host.Call(name, args)
	if err != nil {
		return nil, err
	}
	v, err := data.ReadCBOR(answer)
	if err != nil {
		return nil, hostcall.Errorf(hostcall.CodeInternal, "%s: %v", name, err)
	}
	return v, nil
}

// encoded is the argument at i in the form in which the node keeps it.
func (a *arguments) encoded(name string, i int) value.Item {
	e := &data.CBORWriter{Limit: hostcall.MaxArguments}
	e.Write(a.values[i])
	switch {
	case a.fault != nil:
	case e.Full:
		a.fault = argumentsTooLarge(name)
	case e.Strict:
		a.fault = argumentsNotData(name)
	}
	return e.Buf
}

func argumentsTooLarge(name string) error {
	code := hostcall.CodeInvalidArguments
	if strings.HasPrefix(name, hostcall.KVPrefix) {
		code = hostcall.CodeKVTooLarge
	}
	return hostcall.Errorf(code, "%s: the arguments have more than %d bytes", name, hostcall.MaxArguments)
}

func argumentsNotData(name string) error {
	code := hostcall.CodeInvalidArguments
	if strings.HasPrefix(name, hostcall.KVPrefix) {
		code = hostcall.CodeKVInvalidValue
	}
	return hostcall.Errorf(code, "%s: an argument is not data, is text that is not UTF-8, or is too deep or too long", name)
}

// item reads a field of what the host answered; null if it has none.
func item(v object.Object, name string) object.Object {
	if m, ok := v.(*object.Map); ok {
		return m.Get(name)
	}
	return object.Nil
}
