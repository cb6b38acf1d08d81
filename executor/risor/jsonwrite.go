package risor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

// maxJSONDepth bounds the nesting of JSON, written and read. A value that
// contains itself ends there too.
const maxJSONDepth = 500

var errJSONTooLarge = errors.New("too large")

// jsonError says what has no form in JSON, and where in the value it is.
type jsonError struct {
	path   string // ".items[3].name"
	reason string
}

func (e *jsonError) Error() string { return e.reason }

// mapped is implemented by objects of ours that are written like a map.
type mapped interface{ asMap() *object.Map }

// jsonWriter appends values to buf as JSON: sorted keys, exact integers, no HTML
// escapes.
type jsonWriter struct {
	buf     []byte
	limit   int      // of buf, in bytes
	indent  string   // of one level; empty: all on one line
	lenient bool     // what has no form in JSON becomes text
	keys    []string // a stack of sorted keys, one stretch per open map
}

func (w *jsonWriter) value(v object.Object, depth int) error {
	if len(w.buf) > w.limit {
		return errJSONTooLarge
	}
	switch v := v.(type) {
	case *object.String:
		return w.text(v.Value())
	case *object.Int:
		w.buf = strconv.AppendInt(w.buf, v.Value(), 10)
	case *object.Bool:
		w.buf = strconv.AppendBool(w.buf, v.Value())
	case *object.NilType, nil:
		w.buf = append(w.buf, "null"...)
	case *object.Map:
		return w.object(v, depth)
	case *object.List:
		return w.array(v.Value(), depth)
	case *object.Float:
		return w.float(v.Value())
	case *object.Byte:
		w.buf = strconv.AppendUint(w.buf, uint64(v.Value()), 10)
	case *object.Time:
		w.buf = append(v.Value().AppendFormat(append(w.buf, '"'), time.RFC3339Nano), '"')
	case mapped:
		return w.object(v.asMap(), depth)
	case texted:
		return w.text(v.asText())
	case *object.Range, *object.Iter:
		return w.sequence(v.(object.Enumerable), depth)
	default:
		return w.unsupported(v)
	}
	return nil
}

func (w *jsonWriter) unsupported(v object.Object) error {
	if w.lenient {
		return w.text(shorten(plainText(v), maxExcerpt))
	}
	switch v.(type) {
	case *object.Bytes:
		return &jsonError{reason: `bytes have no form in JSON; use string(b) or encode(b, "base64")`}
	case error:
		return &jsonError{reason: "an error has no form in JSON; use its message()"}
	case object.Callable, *object.Partial:
		return &jsonError{reason: "a function has no form in JSON"}
	}
	return &jsonError{reason: fmt.Sprintf("a value of type %s has no form in JSON", v.Type())}
}

func (w *jsonWriter) object(m *object.Map, depth int) error {
	items := m.Value()
	if len(items) == 0 {
		w.buf = append(w.buf, '{', '}')
		return nil
	}
	if depth++; depth > maxJSONDepth {
		return errTooDeep(w.lenient)
	}
	first := len(w.keys)
	for k := range items {
		w.keys = append(w.keys, k)
	}
	last := len(w.keys)
	slices.Sort(w.keys[first:])
	separator := byte('{')
	for i := first; i < last; i++ {
		key := w.keys[i]
		w.buf = append(w.buf, separator)
		separator = ','
		w.line(depth)
		if err := w.text(key); err != nil {
			return within(err, "."+key)
		}
		w.buf = append(w.buf, ':')
		if w.indent != "" {
			w.buf = append(w.buf, ' ')
		}
		if err := w.value(items[key], depth); err != nil {
			return within(err, "."+key)
		}
	}
	w.keys = w.keys[:first]
	w.line(depth - 1)
	w.buf = append(w.buf, '}')
	return nil
}

func (w *jsonWriter) array(items []object.Object, depth int) error {
	if len(items) == 0 {
		w.buf = append(w.buf, '[', ']')
		return nil
	}
	if depth++; depth > maxJSONDepth {
		return errTooDeep(w.lenient)
	}
	separator := byte('[')
	for i, item := range items {
		w.buf = append(w.buf, separator)
		separator = ','
		w.line(depth)
		if err := w.value(item, depth); err != nil {
			return within(err, "["+strconv.Itoa(i)+"]")
		}
	}
	w.line(depth - 1)
	w.buf = append(w.buf, ']')
	return nil
}

// sequence writes what a range or an iterator yields as a list.
func (w *jsonWriter) sequence(s object.Enumerable, depth int) (err error) {
	if depth++; depth > maxJSONDepth {
		return errTooDeep(w.lenient)
	}
	w.buf = append(w.buf, '[')
	n := 0
	s.Enumerate(context.Background(), func(_, item object.Object) bool {
		if n > 0 {
			w.buf = append(w.buf, ',')
		}
		w.line(depth)
		err = w.value(item, depth)
		n++
		return err == nil
	})
	if err != nil {
		return within(err, "["+strconv.Itoa(n-1)+"]")
	}
	if n > 0 {
		w.line(depth - 1)
	}
	w.buf = append(w.buf, ']')
	return nil
}

func (w *jsonWriter) line(depth int) {
	if w.indent == "" {
		return
	}
	w.buf = append(w.buf, '\n')
	for range depth {
		w.buf = append(w.buf, w.indent...)
	}
}

// float writes the shortest form that reads back as the same number.
func (w *jsonWriter) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		if w.lenient {
			return w.text(strconv.FormatFloat(f, 'g', -1, 64))
		}
		return &jsonError{reason: "NaN and infinities have no form in JSON"}
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	w.buf = strconv.AppendFloat(w.buf, f, format, -1, 64)
	if n := len(w.buf); format == 'e' && w.buf[n-4] == 'e' && w.buf[n-3] == '-' && w.buf[n-2] == '0' {
		w.buf = append(w.buf[:n-2], w.buf[n-1]) // e-09 → e-9
	}
	return nil
}

const hexDigits = "0123456789abcdef"

func (w *jsonWriter) text(s string) error {
	if len(w.buf)+len(s) > w.limit {
		return errJSONTooLarge
	}
	w.buf = append(w.buf, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				if !w.lenient {
					return &jsonError{reason: "text is not UTF-8; bytes can be encoded with base64"}
				}
				w.buf = append(append(w.buf, s[done:i]...), "\ufffd"...)
				done = i + n
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		w.buf = append(w.buf, s[done:i]...)
		w.escape(c)
		i++
		done = i
	}
	w.buf = append(append(w.buf, s[done:]...), '"')
	return nil
}

func (w *jsonWriter) escape(c byte) {
	switch c {
	case '"', '\\':
		w.buf = append(w.buf, '\\', c)
	case '\n':
		w.buf = append(w.buf, '\\', 'n')
	case '\r':
		w.buf = append(w.buf, '\\', 'r')
	case '\t':
		w.buf = append(w.buf, '\\', 't')
	default:
		w.buf = append(w.buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

func errTooDeep(lenient bool) error {
	if lenient {
		return errJSONTooLarge
	}
	return &jsonError{reason: fmt.Sprintf("the value is nested more than %d deep, or contains itself", maxJSONDepth)}
}

// within puts a step of the path in front of the error's.
func within(err error, step string) error {
	var e *jsonError
	if errors.As(err, &e) && len(e.path) < maxExcerpt {
		e.path = step + e.path
	}
	return err
}
