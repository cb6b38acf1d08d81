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

// Fields are the query parameters, headers, cookies, path parameters or form of a
// request, or the headers of an answer: a read-only map in which a missing name is
// null. It reads through the encoded form at each look-up, and decodes only what is
// asked for. The zero value is empty.
type Fields struct {
	kind  kind
	block wire.Pairs // of headers, cookies or path parameters
	query []byte     // of query parameters
	form  []part     // names and values of a form with parts
}

// kind says how the fields of a block are read.
type kind uint8

const (
	kindPlain   kind = iota // names as they are; of equal names the first counts
	kindHeaders             // names ignore case; the values of equal names are joined
	kindAnswer              // headers, of which scripts can list only those that they may pass on
	kindCookies             // what the Cookie lines of a block of headers hold
)

// NewHeaders makes fields of the headers of a request. copy() and a spread, which make
// a map to pass on, leave out what belongs to the connection and to this server.
func NewHeaders(block wire.Pairs) *Fields { return &Fields{kind: kindHeaders, block: block} }

// NewAnswerHeaders makes fields of the headers of an answer from another server. What
// belongs to the connection to that server has a value under its name, but is not
// among keys(), entries(), copy() and the like: a script that hands a copy on does
// not hand on how that answer was framed.
func NewAnswerHeaders(block wire.Pairs) *Fields { return &Fields{kind: kindAnswer, block: block} }

// NewCookies makes fields of the cookies of a request, whose headers are the block. Of
// equal names the first counts: browsers send the cookie with the longest path first.
func NewCookies(block wire.Pairs) *Fields { return &Fields{kind: kindCookies, block: block} }

// NewParams makes fields of path parameters.
func NewParams(block wire.Pairs) *Fields { return &Fields{block: block} }

// NewQuery makes fields of an encoded query.
func NewQuery(query []byte) *Fields { return &Fields{query: query} }

var (
	_ object.Container = (*Fields)(nil)
	_ object.Object    = (*Fields)(nil)
	_ vm.Keyed         = (*Fields)(nil)
	_ vm.Spreader      = (*Fields)(nil)
)

func (f *Fields) header() bool { return f.kind == kindHeaders || f.kind == kindAnswer }

// values lists every value of a name.
func (f *Fields) values(name string) (found []object.Object) {
	f.scan(func(n, v part) bool {
		if n.is(name, f.header()) {
			found = append(found, v.object())
		}
		return true
	})
	return found
}

// lookup returns what the script sees under a name.
func (f *Fields) lookup(name string) (object.Object, bool) {
	var v found
	f.scan(func(k, value part) bool {
		if !k.is(name, f.header()) {
			return true
		}
		v.add(value)
		return f.header() // the first value of a parameter, all of a header
	})
	return v.object(name), v.count > 0
}

// found is what a look-up found under one name.
type found struct {
	count int
	first part
	more  []string
}

func (v *found) add(value part) {
	if v.count++; v.count == 1 {
		v.first = value
		return
	}
	v.more = append(v.more, value.decode())
}

// object is what the script sees under the name.
func (v *found) object(name string) object.Object {
	switch {
	case v.count == 0:
		return object.Nil
	case v.count == 1:
		return v.first.object()
	case strings.EqualFold(name, "set-cookie"): // its lines must not be joined (RFC 6265, 3)
		return object.NewStringList(append([]string{v.first.decode()}, v.more...))
	}
	separator := ", "
	if strings.EqualFold(name, "cookie") {
		separator = "; "
	}
	return object.NewString(v.first.decode() + separator + strings.Join(v.more, separator))
}

// names lists the names once each, sorted.
func (f *Fields) names() []string {
	var names []string
	f.scan(func(n, _ part) bool {
		names = append(names, f.listed(n))
		return true
	})
	names = slices.DeleteFunc(names, f.hidden())
	slices.Sort(names)
	return slices.Compact(names)
}

// listed is a name as it is listed.
func (f *Fields) listed(name part) string {
	if f.header() {
		return strings.ToLower(name.decode())
	}
	return name.decode()
}

// hidden returns what tells whether a name has a value and is not listed.
func (f *Fields) hidden() func(name string) bool {
	if f.kind == kindAnswer {
		return f.stays()
	}
	return func(string) bool { return false }
}

// part is an encoded name or value.
type part struct {
	raw     []byte
	escaped bool          // with percent and plus signs
	file    object.Object // of a form, instead of raw; nil: none
}

// object is a value as the script sees it.
func (p part) object() object.Object {
	if p.file != nil {
		return p.file
	}
	return object.NewString(p.decode())
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
	if f.kind == kindCookies {
		scanCookies(f.block, yield)
		return
	}
	for i := 0; i+1 < len(f.form); i += 2 {
		if !yield(f.form[i], f.form[i+1]) {
			return
		}
	}
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
			return part{raw: raw, escaped: true}
		}
	}
	return part{raw: raw}
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
			return object.NewList(f.values(name)), nil
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
			return f.Spread(), nil
		})
	return methods
}()

// AsMap implements Mapped: it decodes everything. It takes one pass, because a query or
// a Cookie header can hold many thousand names, and a deadline does not end AsMap.
func (f *Fields) AsMap() *object.Map {
	byName := map[string]*found{}
	f.scan(func(n, value part) bool {
		name := f.listed(n)
		switch v := byName[name]; {
		case v == nil:
			byName[name] = &found{count: 1, first: value}
		case f.header():
			v.add(value)
		}
		return true
	})
	stays := f.hidden()
	m := make(map[string]object.Object, len(byName))
	for name, v := range byName {
		if !stays(name) {
			m[name] = v.object(name)
		}
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
	if !found && f.header() && strings.Contains(name, "_") {
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
func (f *Fields) IsTruthy() bool { return f.Len().Value() > 0 }

// RunOperation implements object.Object.
func (f *Fields) RunOperation(kind op.BinaryOpType, _ object.Object) (object.Object, error) {
	return nil, object.TypeErrorf("unsupported operation for map: %v", kind)
}
