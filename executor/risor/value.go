package risor

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/value"
)

// plainText is how a value reads in a log.
func plainText(v object.Object) string {
	switch v := v.(type) {
	case *object.String:
		return v.Value()
	case *object.Bytes:
		return fmt.Sprintf("bytes(%d)", len(v.Value()))
	case texted:
		return v.asText()
	case *object.Closure:
		return v.String()
	case error:
		return v.Error()
	case *object.List, *object.Map, mapped:
		w := jsonWriter{limit: wire.MaxLogMessage, lenient: true}
		if w.value(v, 0) != nil {
			return strings.ToValidUTF8(string(w.buf), "") + "…"
		}
		return string(w.buf)
	}
	return shorten(v.Inspect(), maxMessage)
}

const (
	maxCBORDepth = 24       // the agent accepts 32
	maxCBORItems = 16 << 10 // of one list or map
)

// cborEncoder encodes values for the host. It does not fail. It writes text for
// what is not data, and sets strict. It sets full when the value does not fit.
type cborEncoder struct {
	buf    []byte
	limit  int
	full   bool
	strict bool // something was replaced by text
}

func (e *cborEncoder) text(s string) {
	if len(e.buf)+len(s) > e.limit {
		e.full = true
		s = ""
	}
	if !utf8.ValidString(s) {
		s, e.strict = strings.ToValidUTF8(s, "�"), true
	}
	e.buf = value.AppendText(e.buf, s)
}

func (e *cborEncoder) value(v object.Object, depth int) {
	if len(e.buf) > e.limit {
		e.full = true
	}
	if e.full {
		e.buf = value.AppendNull(e.buf)
		return
	}
	switch v := v.(type) {
	case nil, *object.NilType:
		e.buf = value.AppendNull(e.buf)
	case *object.Bool:
		e.buf = value.AppendBool(e.buf, v.Value())
	case *object.Int:
		e.buf = value.AppendInt(e.buf, v.Value())
	case *object.Byte:
		e.buf = value.AppendInt(e.buf, int64(v.Value()))
	case *object.Float:
		e.buf = value.AppendFloat(e.buf, v.Value())
	case *object.String:
		e.text(v.Value())
	case *object.Bytes:
		e.bytes(v.Value())
	case *object.List:
		e.list(v.Value(), depth)
	case *object.Map:
		e.dict(v, depth)
	case mapped:
		e.dict(v.asMap(), depth)
	case texted:
		e.text(v.asText())
	default:
		e.strict = true
		e.text(shorten(plainText(v), maxMessage))
	}
}

func (e *cborEncoder) bytes(b []byte) {
	if len(e.buf)+len(b) > e.limit {
		e.full = true
		b = nil
	}
	e.buf = value.AppendBytes(e.buf, b)
}

func (e *cborEncoder) list(items []object.Object, depth int) {
	if depth >= maxCBORDepth || len(items) > maxCBORItems {
		e.strict = true
		e.text("[…]")
		return
	}
	e.buf = value.AppendList(e.buf, len(items))
	for _, item := range items {
		e.value(item, depth+1)
	}
}

func (e *cborEncoder) dict(m *object.Map, depth int) {
	items := m.Value()
	if depth >= maxCBORDepth || len(items) > maxCBORItems {
		e.strict = true
		e.text("{…}")
		return
	}
	keys := make([]string, 0, len(items))
	for k := range items {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, value.CompareKeys)
	e.buf = value.AppendMap(e.buf, len(items))
	for _, k := range keys {
		e.text(k)
		e.value(items[k], depth+1)
	}
}
