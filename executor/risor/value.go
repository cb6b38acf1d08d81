package risor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

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
	cborUint  = 0 << 5
	cborNeg   = 1 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborFalse = 0xf4
	cborTrue  = 0xf5
	cborNull  = 0xf6
	cborFloat = 0xfb
)

const (
	maxCBORDepth = 24       // the agent accepts 32
	maxCBORItems = 16 << 10 // of one list or map
)

// errNotData says that a value cannot travel to the host.
var errNotData = errors.New("not data")

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
	s = strings.ToValidUTF8(s, "�")
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

// hostCall asks the host for a function by its full name, with and for values.
func hostCall(c *Call, name string, args ...object.Object) (object.Object, error) {
	e := &cborEncoder{limit: wire.MaxHostArgs}
	e.head(cborArray, uint64(len(args)))
	for _, arg := range args {
		e.value(arg, 1)
	}
	switch {
	case e.full:
		return nil, &HostError{"too_large", fmt.Sprintf("%s: the arguments have more than %d bytes", name, wire.MaxHostArgs)}
	case e.strict:
		return nil, &HostError{"invalid_argument", fmt.Sprintf("%s: an argument is %s, or too deep or too long", name, errNotData)}
	}
	value, err := c.Host.Call(name, e.buf)
	if err != nil {
		return nil, err
	}
	v, err := wire.Unmarshal(value)
	if err != nil {
		return nil, &HostError{"internal", fmt.Sprintf("%s: %v", name, err)}
	}
	return fromHost(v), nil
}

// fromHost converts what wire.Unmarshal returns.
func fromHost(v any) object.Object {
	switch v := v.(type) {
	case bool:
		return object.NewBool(v)
	case int64:
		return object.NewInt(v)
	case uint64:
		return object.NewFloat(float64(v))
	case float64:
		return object.NewFloat(v)
	case string:
		return object.NewString(v)
	case []byte:
		return object.NewBytes(v)
	case []any:
		items := make([]object.Object, len(v))
		for i, item := range v {
			items[i] = fromHost(item)
		}
		return object.NewList(items)
	case map[string]any:
		items := make(map[string]object.Object, len(v))
		for k, item := range v {
			items[k] = fromHost(item)
		}
		return object.NewMap(items)
	}
	return object.Nil
}
