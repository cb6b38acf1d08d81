package data

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/internal/value"
)

const maxCBORDepth = 24 // the agent accepts 32

// CBORWriter encodes values for the host. It does not fail. It writes text for
// what is not data, and sets Strict. It sets Full when the value does not fit.
type CBORWriter struct {
	Buf    []byte
	Limit  int  // of Buf, in bytes
	Full   bool // the value does not fit
	Strict bool // something was replaced by text
}

// Text writes a text. What is not UTF-8 in it becomes U+FFFD.
func (e *CBORWriter) Text(s string) {
	if len(e.Buf)+len(s) > e.Limit {
		e.Full = true
		s = ""
	}
	if !utf8.ValidString(s) {
		s, e.Strict = strings.ToValidUTF8(s, "�"), true
	}
	e.Buf = value.AppendText(e.Buf, s)
}

// Write appends a value.
func (e *CBORWriter) Write(v object.Object) { e.value(v, 0) }

func (e *CBORWriter) value(v object.Object, depth int) {
	if len(e.Buf) > e.Limit {
		e.Full = true
	}
	if e.Full {
		e.Buf = value.AppendNull(e.Buf)
		return
	}
	switch v := v.(type) {
	case nil, *object.NilType:
		e.Buf = value.AppendNull(e.Buf)
	case *object.Bool:
		e.Buf = value.AppendBool(e.Buf, v.Value())
	case *object.Int:
		e.Buf = value.AppendInt(e.Buf, v.Value())
	case *object.Byte:
		e.Buf = value.AppendInt(e.Buf, int64(v.Value()))
	case *object.Float:
		e.Buf = value.AppendFloat(e.Buf, v.Value())
	case *object.String:
		e.Text(v.Value())
	case *object.Bytes:
		e.bytes(v.Value())
	case *object.List:
		e.list(v.Value(), depth)
	case *object.Map:
		e.dict(v, depth)
	case Mapped:
		e.dict(v.AsMap(), depth)
	case Texted:
		e.Text(v.AsText())
	default:
		e.Strict = true
		e.Text(Shorten(PlainText(v), maxPlainText))
	}
}

func (e *CBORWriter) bytes(b []byte) {
	if len(e.Buf)+len(b) > e.Limit {
		e.Full = true
		b = nil
	}
	e.Buf = value.AppendBytes(e.Buf, b)
}

func (e *CBORWriter) list(items []object.Object, depth int) {
	if depth >= maxCBORDepth || len(items) > value.MaxItems {
		e.Strict = true
		e.Text("[…]")
		return
	}
	e.Buf = value.AppendList(e.Buf, len(items))
	for _, item := range items {
		e.value(item, depth+1)
	}
}

func (e *CBORWriter) dict(m *object.Map, depth int) {
	items := m.Value()
	if depth >= maxCBORDepth || len(items) > value.MaxPairs {
		e.Strict = true
		e.Text("{…}")
		return
	}
	keys := make([]string, 0, len(items))
	for k := range items {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, value.CompareKeys)
	e.Buf = value.AppendMap(e.Buf, len(items))
	for _, k := range keys {
		e.Text(k)
		e.value(items[k], depth+1)
	}
}
