package module

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

// maxText bounds what a function of the host makes of its arguments, in bytes.
const maxText = 64 << 20

// arguments are what one call of a host function got. The methods that read one
// remember the first that does not fit in fault, which is what the script then
// sees: a function reads all of its arguments before it does anything.
type arguments struct {
	ctx    context.Context
	module string
	fn     *Function // nil: a builtin
	self   object.Object
	values []object.Object
	fault  error
}

// object binds the function, for members of a Type to their value.
func (f *Function) object(module string, self object.Object) object.Object {
	name, least, most := module+"."+f.Name, 0, len(f.Args)
	for _, a := range f.Args {
		if !a.Optional {
			least++
		}
	}
	return object.NewBuiltin(name, func(ctx context.Context, values ...object.Object) (object.Object, error) {
		if len(values) < least || len(values) > most {
			return nil, hostcall.Errorf(hostcall.CodeInvalidArguments, "%s: got %d arguments: %s", name, len(values), f.Signature(module))
		}
		a := arguments{ctx: ctx, module: module, fn: f, self: self, values: values}
		v, err := f.call(&a)
		if a.fault != nil {
			return nil, a.fault
		}
		return v, err
	})
}

// wrong says what an argument should be.
func (a *arguments) wrong(i int, expected string) error {
	name := "the value"
	if a.fn != nil {
		name = a.fn.Args[i].Name
	}
	return a.invalid(fmt.Sprintf("%s must be %s, not %s", name, expected, data.Show(a.values[i])))
}

// invalid refuses the arguments.
func (a *arguments) invalid(message string) error {
	if a.fault == nil {
		if a.fn != nil {
			message = fmt.Sprintf("%s.%s: %s: %s", a.module, a.fn.Name, message, a.fn.Signature(a.module))
		}
		a.fault = hostcall.Errorf(hostcall.CodeInvalidArguments, "%s", message)
	}
	return a.fault
}

// has reports whether an optional argument was given; null is none.
func (a *arguments) has(i int) bool { return i < len(a.values) && a.values[i] != object.Nil }

// text reads a string.
func (a *arguments) text(i int) string {
	if s, ok := a.values[i].(*object.String); ok {
		return s.Value()
	}
	_ = a.wrong(i, "a string")
	return ""
}

// textOr reads an optional string.
func (a *arguments) textOr(i int, fallback string) string {
	if !a.has(i) {
		return fallback
	}
	return a.text(i)
}

// data reads a string or bytes.
func (a *arguments) data(i int) []byte {
	switch v := a.values[i].(type) {
	case *object.Bytes:
		return v.Value()
	case *object.String:
		return []byte(v.Value())
	}
	_ = a.wrong(i, "a string or bytes")
	return nil
}

// int reads an optional whole number.
func (a *arguments) int(i int, fallback int64) int64 {
	if !a.has(i) {
		return fallback
	}
	if n, ok := a.values[i].(*object.Int); ok {
		return n.Value()
	}
	_ = a.wrong(i, "an int")
	return fallback
}

// duration reads the first argument, a duration.
func (a *arguments) duration() time.Duration {
	d, ok := durationOf(a.values[0])
	if !ok {
		_ = a.wrong(0, durationForm)
	}
	return d
}

// options reads an optional map whose names are known.
func (a *arguments) options(i int, names ...string) options {
	if !a.has(i) {
		return options{arguments: a}
	}
	m, ok := asMap(a.values[i])
	if !ok {
		_ = a.wrong(i, "a map")
		return options{arguments: a}
	}
	for name := range m.Value() {
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			_ = a.invalid(fmt.Sprintf("the option %q does not exist; the options are %s", data.Shorten(name, 80), strings.Join(names, ", ")))
		}
	}
	return options{a, m.Value()}
}

// asMap takes maps and what is written like one.
func asMap(v object.Object) (*object.Map, bool) {
	switch v := v.(type) {
	case *object.Map:
		return v, true
	case data.Mapped:
		return v.AsMap(), true
	}
	return nil, false
}

// options are the last argument of many functions. Null is as good as absent.
type options struct {
	*arguments
	items map[string]object.Object
}

func (o options) get(name string) (object.Object, bool) {
	v, ok := o.items[name]
	return v, ok && v != object.Nil
}

func (o options) wrong(name, expected string) {
	_ = o.invalid(fmt.Sprintf("option %s must be %s, not %s", name, expected, data.Show(o.items[name])))
}

func (o options) text(name, fallback string) string {
	v, ok := o.get(name)
	if !ok {
		return fallback
	}
	s, ok := v.(*object.String)
	if !ok {
		o.wrong(name, "a string")
		return fallback
	}
	return s.Value()
}

func (o options) int(name string, fallback, low, high int64) int64 {
	v, ok := o.get(name)
	if !ok {
		return fallback
	}
	n, ok := v.(*object.Int)
	if !ok || n.Value() < low || n.Value() > high {
		o.wrong(name, fmt.Sprintf("an int from %d to %d", low, high))
		return fallback
	}
	return n.Value()
}

// duration reads one of at least a millisecond; zero when it is absent.
func (o options) duration(name string) time.Duration {
	v, ok := o.get(name)
	if !ok {
		return 0
	}
	d, ok := durationOf(v)
	if !ok || d < time.Millisecond {
		o.wrong(name, durationForm+" of at least a millisecond")
		return 0
	}
	return d
}

const durationForm = `a duration such as "1h30m", "7d" or 90 (seconds)`

// maxDuration bounds durations: 200 years.
const maxDuration = 200 * 365 * 24 * time.Hour

// durationOf reads seconds, or text such as "1h30m", to which days and weeks
// may be prepended.
func durationOf(v object.Object) (time.Duration, bool) {
	var d time.Duration
	switch v := v.(type) {
	case *object.Int:
		if n := v.Value(); n > int64(maxDuration/time.Second) || n < -int64(maxDuration/time.Second) {
			return 0, false
		}
		d = time.Duration(v.Value()) * time.Second
	case *object.Float:
		if f := v.Value(); math.IsNaN(f) || math.Abs(f) > maxDuration.Seconds() {
			return 0, false
		}
		d = time.Duration(math.Round(v.Value() * float64(time.Second)))
	case *object.String:
		var ok bool
		if d, ok = parseDuration(v.Value()); !ok {
			return 0, false
		}
	default:
		return 0, false
	}
	return d, d <= maxDuration && d >= -maxDuration
}

func parseDuration(s string) (d time.Duration, ok bool) {
	rest, negative := strings.CutPrefix(s, "-")
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, found := strings.Cut(rest, unit.letter)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || time.Duration(n) > (maxDuration-d)/unit.length {
			return 0, false
		}
		d += time.Duration(n) * unit.length
		if rest = after; rest == "" {
			break
		}
	}
	if rest != "" {
		clock, err := time.ParseDuration(rest)
		if err != nil || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") || clock > maxDuration-d {
			return 0, false
		}
		d += clock
	}
	if negative {
		d = -d
	}
	return d, s != "" && s != "-"
}

// stride is how much a function does between two looks at the clock, in bytes.
const stride = 1 << 20

// chunks hands large data over in parts, and ends with the call's time.
func (a *arguments) chunks(data []byte, do func([]byte)) error {
	for len(data) > stride {
		do(data[:stride])
		data = data[stride:]
		if err := a.ctx.Err(); err != nil {
			return err
		}
	}
	do(data)
	return nil
}

// textTooLarge refuses to make a text over the bound.
func textTooLarge(what string) error {
	return hostcall.Errorf("too_large", "%s would have more than %d MiB", what, maxText>>20)
}
