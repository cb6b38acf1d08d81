package data

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

// The text of what has no form in JSON, and the path to it, in bytes.
const (
	maxUnsupported = 200
	maxPath        = 200
)

var errJSONTooLarge = errors.New("too large")

// JSONError says what has no form in JSON, and where in the value it is.
type JSONError struct {
	Path   string // ".items[3].name"; empty: the value itself
	Reason string
}

// Error implements error.
func (e *JSONError) Error() string { return e.Reason }

// Mapped is implemented by objects of ours that are written like a map.
type Mapped interface {
	// AsMap is the object as data.
	AsMap() *object.Map
}

// JSONWriter appends values to Buf as JSON: sorted keys, exact integers, no HTML
// escapes.
type JSONWriter struct {
	Buf     []byte
	Limit   int      // of Buf, in bytes
	Indent  string   // of one level; empty: all on one line
	lenient bool     // what has no form in JSON becomes text
	Keys    []string // a stack of sorted keys, one stretch per open map
	// Halted says why the call is over; nil: it never is. Write asks it from time to time.
	Halted func() error
	values int
}

// Write appends a value.
func (w *JSONWriter) Write(v object.Object) error { return w.value(v, 0) }

func (w *JSONWriter) value(v object.Object, depth int) error {
	if len(w.Buf) > w.Limit {
		return errJSONTooLarge
	}
	if w.values++; w.values%haltEvery == 0 && w.Halted != nil {
		if err := w.Halted(); err != nil {
			return err
		}
	}
	switch v := v.(type) {
	case *object.String:
		return w.text(v.Value())
	case *object.Int:
		w.Buf = strconv.AppendInt(w.Buf, v.Value(), 10)
	case *object.Bool:
		w.Buf = strconv.AppendBool(w.Buf, v.Value())
	case *object.NilType, nil:
		w.Buf = append(w.Buf, "null"...)
	case *object.Map:
		return w.object(v, depth)
	case *object.List:
		return w.array(v.Value(), depth)
	case *object.Float:
		return w.float(v.Value())
	case *object.Byte:
		w.Buf = strconv.AppendUint(w.Buf, uint64(v.Value()), 10)
	case *object.Time:
		w.Buf = append(v.Value().AppendFormat(append(w.Buf, '"'), time.RFC3339Nano), '"')
	case Mapped:
		return w.object(v.AsMap(), depth)
	case Texted:
		return w.text(v.AsText())
	case *object.Range, *object.Iter:
		return w.sequence(v.(object.Enumerable), depth)
	default:
		return w.unsupported(v)
	}
	return nil
}

func (w *JSONWriter) unsupported(v object.Object) error {
	if w.lenient {
		return w.text(Shorten(PlainText(v), maxUnsupported))
	}
	if v.Type() == object.ERROR {
		return &JSONError{Reason: "an error has no form in JSON; use its message()"}
	}
	switch v.(type) {
	case *object.Bytes:
		return &JSONError{Reason: `bytes have no form in JSON; use string(b) or encode(b, "base64")`}
	case object.Callable, *object.Partial:
		return &JSONError{Reason: "a function has no form in JSON"}
	}
	return &JSONError{Reason: fmt.Sprintf("a value of type %s has no form in JSON", v.Type())}
}

func (w *JSONWriter) object(m *object.Map, depth int) error {
	items := m.Value()
	if len(items) == 0 {
		w.Buf = append(w.Buf, '{', '}')
		return nil
	}
	if depth++; depth > maxJSONDepth {
		return errTooDeep(w.lenient)
	}
	first := len(w.Keys)
	for k := range items {
		w.Keys = append(w.Keys, k)
	}
	last := len(w.Keys)
	slices.Sort(w.Keys[first:])
	separator := byte('{')
	for i := first; i < last; i++ {
		key := w.Keys[i]
		w.Buf = append(w.Buf, separator)
		separator = ','
		w.line(depth)
		if err := w.text(key); err != nil {
			return within(err, "."+key)
		}
		w.Buf = append(w.Buf, ':')
		if w.Indent != "" {
			w.Buf = append(w.Buf, ' ')
		}
		if err := w.value(items[key], depth); err != nil {
			return within(err, "."+key)
		}
	}
	w.Keys = w.Keys[:first]
	w.line(depth - 1)
	w.Buf = append(w.Buf, '}')
	return nil
}

func (w *JSONWriter) array(items []object.Object, depth int) error {
	if len(items) == 0 {
		w.Buf = append(w.Buf, '[', ']')
		return nil
	}
	if depth++; depth > maxJSONDepth {
		return errTooDeep(w.lenient)
	}
	separator := byte('[')
	for i, item := range items {
		w.Buf = append(w.Buf, separator)
		separator = ','
		w.line(depth)
		if err := w.value(item, depth); err != nil {
			return within(err, "["+strconv.Itoa(i)+"]")
		}
	}
	w.line(depth - 1)
	w.Buf = append(w.Buf, ']')
	return nil
}

// sequence writes what a range or an iterator yields as a list.
func (w *JSONWriter) sequence(s object.Enumerable, depth int) (err error) {
	if depth++; depth > maxJSONDepth {
		return errTooDeep(w.lenient)
	}
	w.Buf = append(w.Buf, '[')
	n := 0
	s.Enumerate(context.Background(), func(_, item object.Object) bool {
		if n > 0 {
			w.Buf = append(w.Buf, ',')
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
	w.Buf = append(w.Buf, ']')
	return nil
}

func (w *JSONWriter) line(depth int) {
	if w.Indent == "" {
		return
	}
	w.Buf = append(w.Buf, '\n')
	for range depth {
		w.Buf = append(w.Buf, w.Indent...)
	}
}

// float writes the shortest form that reads back as the same number.
func (w *JSONWriter) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		if w.lenient {
			return w.text(strconv.FormatFloat(f, 'g', -1, 64))
		}
		return &JSONError{Reason: "NaN and infinities have no form in JSON"}
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	w.Buf = strconv.AppendFloat(w.Buf, f, format, -1, 64)
	if n := len(w.Buf); format == 'e' && w.Buf[n-4] == 'e' && w.Buf[n-3] == '-' && w.Buf[n-2] == '0' {
		w.Buf = append(w.Buf[:n-2], w.Buf[n-1]) // e-09 → e-9
	}
	return nil
}

const hexDigits = "0123456789abcdef"

func (w *JSONWriter) text(s string) error {
	if len(w.Buf)+len(s) > w.Limit {
		return errJSONTooLarge
	}
	w.Buf = append(w.Buf, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				if !w.lenient {
					return &JSONError{Reason: "text is not UTF-8; bytes can be encoded with base64"}
				}
				w.Buf = append(append(w.Buf, s[done:i]...), "\ufffd"...)
				done = i + n
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		w.Buf = append(w.Buf, s[done:i]...)
		w.escape(c)
		i++
		done = i
	}
	w.Buf = append(append(w.Buf, s[done:]...), '"')
	return nil
}

func (w *JSONWriter) escape(c byte) {
	switch c {
	case '"', '\\':
		w.Buf = append(w.Buf, '\\', c)
	case '\n':
		w.Buf = append(w.Buf, '\\', 'n')
	case '\r':
		w.Buf = append(w.Buf, '\\', 'r')
	case '\t':
		w.Buf = append(w.Buf, '\\', 't')
	default:
		w.Buf = append(w.Buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

func errTooDeep(lenient bool) error {
	if lenient {
		return errJSONTooLarge
	}
	return &JSONError{Reason: fmt.Sprintf("the value is nested more than %d deep, or contains itself", maxJSONDepth)}
}

// within puts a step of the path in front of the error's.
func within(err error, step string) error {
	var e *JSONError
	if errors.As(err, &e) && len(e.Path) < maxPath {
		e.Path = step + e.Path
	}
	return err
}
