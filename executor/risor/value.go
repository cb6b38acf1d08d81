package risor

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/wire"
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

// The major types of CBOR (RFC 8949) that dynamic values use.
const (
	cborUint   = 0 << 5
	cborNeg    = 1 << 5
	cborBytes  = 2 << 5
	cborText   = 3 << 5
	cborArray  = 4 << 5
	cborMap    = 5 << 5
	cborFalse  = 0xf4
	cborTrue   = 0xf5
	cborNull   = 0xf6
	cborHalf   = 0xf9
	cborSingle = 0xfa
	cborFloat  = 0xfb
)

const (
	maxCBORDepth = 24       // the agent accepts 32
	maxCBORItems = 16 << 10 // of one list or map
)

// cborEncoder encodes values for the host. It does not fail: what is no data
// becomes text, and strict tells afterwards that there was some; what does not
// fit sets full.
type cborEncoder struct {
	buf    []byte
	limit  int
	full   bool
	strict bool // something was replaced by text
}

func (e *cborEncoder) head(major byte, n uint64) {
	switch {
	case n < 24:
		e.buf = append(e.buf, major|byte(n))
	case n <= 0xff:
		e.buf = append(e.buf, major|24, byte(n))
	case n <= 0xffff:
		e.buf = binary.BigEndian.AppendUint16(append(e.buf, major|25), uint16(n))
	case n <= 0xffffffff:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, major|26), uint32(n))
	default:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, major|27), n)
	}
}

func (e *cborEncoder) text(s string) {
	if len(e.buf)+len(s) > e.limit {
		e.full = true
		s = ""
	}
	if !utf8.ValidString(s) {
		s, e.strict = strings.ToValidUTF8(s, "�"), true
	}
	e.head(cborText, uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *cborEncoder) value(v object.Object, depth int) {
	if len(e.buf) > e.limit {
		e.full = true
	}
	if e.full {
		e.buf = append(e.buf, cborNull)
		return
	}
	switch v := v.(type) {
	case nil, *object.NilType:
		e.buf = append(e.buf, cborNull)
	case *object.Bool:
		e.buf = append(e.buf, map[bool]byte{true: cborTrue, false: cborFalse}[v.Value()])
	case *object.Int:
		e.int(v.Value())
	case *object.Byte:
		e.int(int64(v.Value()))
	case *object.Float:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, cborFloat), math.Float64bits(v.Value()))
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

func (e *cborEncoder) int(n int64) {
	if n < 0 {
		e.head(cborNeg, uint64(-(n + 1)))
		return
	}
	e.head(cborUint, uint64(n))
}

func (e *cborEncoder) bytes(b []byte) {
	if len(e.buf)+len(b) > e.limit {
		e.full = true
		b = nil
	}
	e.head(cborBytes, uint64(len(b)))
	e.buf = append(e.buf, b...)
}

func (e *cborEncoder) list(items []object.Object, depth int) {
	if depth >= maxCBORDepth || len(items) > maxCBORItems {
		e.strict = true
		e.text("[…]")
		return
	}
	e.head(cborArray, uint64(len(items)))
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
	slices.Sort(keys)
	e.head(cborMap, uint64(len(items)))
	for _, k := range keys {
		e.text(k)
		e.value(items[k], depth+1)
	}
}
