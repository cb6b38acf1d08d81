package data

import (
	"bytes"
	"context"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/deepnoodle-ai/risor/v2/pkg/op"

	"github.com/picloud/picloud/executor/risor/vm"
	"github.com/picloud/picloud/executor/wire"
)

// Fields are the query parameters, headers or path parameters of a request: a
// read-only map in which a missing name is null. It reads through the encoded
// form at each look-up, and decodes only what is asked for. The zero value is empty.
type Fields struct {
	header bool
	block  wire.Pairs // of headers, or of path parameters
	query  []byte     // of query parameters
}

// NewHeaders makes fields of headers, whose names ignore case.
func NewHeaders(block wire.Pairs) *Fields { return &Fields{header: true, block: block} }

// NewParams makes fields of path parameters.
func NewParams(block wire.Pairs) *Fields { return &Fields{block: block} }

// NewQuery makes fields of an encoded query.
func NewQuery(query []byte) *Fields { return &Fields{query: query} }

var (
	_ object.Container = (*Fields)(nil)
	_ object.Object    = (*Fields)(nil)
	_ vm.Keyed         = (*Fields)(nil)
)

// values lists every value of a name.
func (f *Fields) values(name string) (found []string) {
	f.scan(func(n, v part) bool {
		if n.is(name, f.header) {
			found = append(found, v.decode())
		}
		return true
	})
	return found
}

// lookup returns what the script sees under a name.
func (f *Fields) lookup(name string) (object.Object, bool) {
	var first string
	var found []string
	n := 0
	f.scan(func(k, v part) bool {
		if !k.is(name, f.header) {
			return true
		}
		if n++; n == 1 {
			first = v.decode()
			return f.header // the first value of a parameter, all of a header
		}
		found = append(found, v.decode())
		return true
	})
	if n == 0 {
		return object.Nil, false
	}
	if n > 1 {
		separator := ", "
		if strings.EqualFold(name, "cookie") {
			separator = "; "
		}
		first += separator + strings.Join(found, separator)
	}
	return object.NewString(first), true
}

// names lists the names once each, sorted.
func (f *Fields) names() []string {
	var names []string
	f.scan(func(n, _ part) bool {
		name := n.decode()
		if f.header {
			name = strings.ToLower(name)
		}
		names = append(names, name)
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// part is an encoded name or value.
type part struct {
	raw     []byte
	escaped bool // with percent and plus signs
}

func (p part) decode() string {
	s := string(p.raw)
	if p.escaped {
		if plain, err := url.QueryUnescape(s); err == nil {
			s = plain
		}
	}
	return strings.ToValidUTF8(s, "�")
}

func (p part) is(name string, fold bool) bool {
	plain := p.raw
	if p.escaped || !utf8.Valid(p.raw) {
		plain = []byte(p.decode())
	}
	if fold {
		return bytes.EqualFold(plain, []byte(name))
	}
	return string(plain) == name
}

// scan yields the names and values in their order.
func (f *Fields) scan(yield func(name, value part) bool) {
	for n, v := range f.block.All() {
		if !yield(part{raw: n}, part{raw: v}) {
			return
		}
	}
	for rest := f.query; len(rest) > 0; {
		var pair []byte
		pair, rest = cutByte(rest, '&')
		if len(pair) == 0 {
			continue
		}
		name, value := cutByte(pair, '=')
		if !yield(encoded(name), encoded(value)) {
			return
		}
	}
}

func encoded(raw []byte) part {
	for _, c := range raw {
		if c == '%' || c == '+' {
			return part{raw, true}
		}
	}
	return part{raw, false}
}

func cutByte(b []byte, separator byte) (before, after []byte) {
	for i, c := range b {
		if c == separator {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

var fieldsMethods = func() *object.AttrRegistry[*Fields] {
	methods := object.NewAttrRegistry[*Fields]("fields")
	methods.Define("get").Doc("The value of a name, or the default").Arg("name").OptionalArg("default").Returns("any").
		Impl(func(f *Fields, _ context.Context, args ...object.Object) (object.Object, error) {
			name, err := object.AsString(args[0])
			if err != nil {
				return nil, err
			}
			v, found := f.lookup(name)
			if !found && len(args) == 2 {
				return args[1], nil
			}
			return v, nil
		})
	methods.Define("all").Doc("Every value of a name").Arg("name").Returns("list").
		Impl(func(f *Fields, _ context.Context, args ...object.Object) (object.Object, error) {
			name, err := object.AsString(args[0])
			if err != nil {
				return nil, err
			}
			return object.NewStringList(f.values(name)), nil
		})
	methods.Define("keys").Doc("The names, sorted").Returns("list").
		Impl(func(f *Fields, _ context.Context, _ ...object.Object) (object.Object, error) {
			return object.NewStringList(f.names()), nil
		})
	methods.Define("values").Doc("The values, in the order of the names").Returns("list").
		Impl(func(f *Fields, _ context.Context, _ ...object.Object) (object.Object, error) {
			return f.AsMap().Values(), nil
		})
	methods.Define("entries").Doc("[name, value] pairs").Returns("list").
		Impl(func(f *Fields, _ context.Context, _ ...object.Object) (object.Object, error) {
			return f.AsMap().ListItems(), nil
		})
	methods.Define("each").Doc("Call a function with each name and value").Arg("fn").Returns("null").
		Impl(func(f *Fields, ctx context.Context, args ...object.Object) (object.Object, error) {
			fn, ok := args[0].(object.Callable)
			if !ok {
				return nil, object.TypeErrorf("each() expected a function (%s given)", args[0].Type())
			}
			m := f.AsMap()
			for _, name := range m.SortedKeys() {
				if _, err := fn.Call(ctx, object.NewString(name), m.Get(name)); err != nil {
					return nil, err
				}
			}
			return object.Nil, nil
		})
	methods.Define("copy").Doc("A map that can be changed").Returns("map").
		Impl(func(f *Fields, _ context.Context, _ ...object.Object) (object.Object, error) {
			return f.AsMap(), nil
		})
	return methods
}()

// AsMap implements Mapped: it decodes everything.
func (f *Fields) AsMap() *object.Map {
	m := map[string]object.Object{}
	for _, name := range f.names() {
		m[name], _ = f.lookup(name)
	}
	return object.NewMap(m)
}

// YieldsKeys implements vm.Keyed.
func (f *Fields) YieldsKeys() bool { return true }

// GetAttr implements object.Object: methods, then names. In the name of a
// header an underscore may stand for a hyphen.
func (f *Fields) GetAttr(name string) (object.Object, bool) {
	if method, ok := fieldsMethods.GetAttr(f, name); ok {
		return method, true
	}
	v, found := f.lookup(name)
	if !found && f.header && strings.Contains(name, "_") {
		v, _ = f.lookup(strings.ReplaceAll(name, "_", "-"))
	}
	return v, true
}

// GetItem implements object.Container.
func (f *Fields) GetItem(key object.Object) (object.Object, *object.Error) {
	name, ok := key.(*object.String)
	if !ok {
		return nil, object.TypeErrorf("map key must be a string (got %s)", key.Type())
	}
	v, _ := f.lookup(name.Value())
	return v, nil
}

// Contains implements object.Container.
func (f *Fields) Contains(key object.Object) *object.Bool {
	name, ok := key.(*object.String)
	if !ok {
		return object.False
	}
	_, found := f.lookup(name.Value())
	return object.NewBool(found)
}

// Enumerate implements object.Enumerable.
func (f *Fields) Enumerate(ctx context.Context, fn func(key, value object.Object) bool) {
	f.AsMap().Enumerate(ctx, fn)
}

// Len implements object.Container.
func (f *Fields) Len() *object.Int { return object.NewInt(int64(len(f.names()))) }

// GetSlice implements object.Container.
func (f *Fields) GetSlice(object.Slice) (object.Object, *object.Error) {
	return nil, object.TypeErrorf("map does not support slice operations")
}

// SetItem implements object.Container.
func (f *Fields) SetItem(_, _ object.Object) *object.Error { return f.readOnly() }

// DelItem implements object.Container.
func (f *Fields) DelItem(object.Object) *object.Error { return f.readOnly() }

// SetAttr implements object.Object.
func (f *Fields) SetAttr(string, object.Object) error { return f.readOnly() }

func (f *Fields) readOnly() *object.Error {
	return object.TypeErrorf("it is read-only; copy() makes a map that can be changed")
}

// Type implements object.Object: scripts see a map.
func (f *Fields) Type() object.Type { return object.MAP }

// Inspect implements object.Object.
func (f *Fields) Inspect() string { return f.AsMap().Inspect() }

// Interface implements object.Object.
func (f *Fields) Interface() any { return f.AsMap().Interface() }

// Equals implements object.Object.
func (f *Fields) Equals(other object.Object) bool {
	if o, ok := other.(*Fields); ok {
		other = o.AsMap()
	}
	return f.AsMap().Equals(other)
}

// Attrs implements object.Object.
func (f *Fields) Attrs() []object.AttrSpec { return fieldsMethods.Specs() }

// IsTruthy implements object.Object.
func (f *Fields) IsTruthy() bool { return len(f.block) > 0 || len(f.query) > 0 }

// RunOperation implements object.Object.
func (f *Fields) RunOperation(kind op.BinaryOpType, _ object.Object) (object.Object, error) {
	return nil, object.TypeErrorf("unsupported operation for map: %v", kind)
}
