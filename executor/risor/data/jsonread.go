package data

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
)

// jsonReader reads one JSON text (RFC 8259): integers that fit become ints, all
// other numbers floats; of equal names the last wins; unpaired surrogates
// become U+FFFD.
type jsonReader[T ~string | ~[]byte] struct {
	src    T
	pos    int
	values int
	halted func() error // nil: never
}

// haltEvery is how many values are read between two looks at whether the call is over.
const haltEvery = 1 << 10

// byteOrderMark is what some editors put before a text in UTF-8. It is not part of the
// text.
const byteOrderMark = "\ufeff"

// ReadJSON returns the value of a JSON text. A byte order mark before it is skipped.
func ReadJSON[T ~string | ~[]byte](src T) (object.Object, error) { return ReadJSONUntil(src, nil) }

// ReadJSONUntil is ReadJSON for a call that can be over before the text is. From time to
// time it asks halted whether it is, and returns its error.
func ReadJSONUntil[T ~string | ~[]byte](src T, halted func() error) (object.Object, error) {
	r := &jsonReader[T]{src: src, halted: halted}
	if len(src) >= len(byteOrderMark) && string(src[:len(byteOrderMark)]) == byteOrderMark {
		r.pos = len(byteOrderMark)
	}
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if r.blank(); r.pos < len(r.src) {
		return nil, r.unexpected("after the value")
	}
	return v, nil
}

func (r *jsonReader[T]) value(depth int) (object.Object, error) {
	if r.values++; r.values%haltEvery == 0 && r.halted != nil {
		if err := r.halted(); err != nil {
			return nil, err
		}
	}
	r.blank()
	if r.pos >= len(r.src) {
		return nil, r.unexpected("instead of a value")
	}
	switch c := r.src[r.pos]; {
	case c == '{':
		return r.object(depth + 1)
	case c == '[':
		return r.array(depth + 1)
	case c == '"':
		s, err := r.text()
		if err != nil {
			return nil, err
		}
		return object.NewString(s), nil
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	case c == 't':
		return r.word("true", object.True)
	case c == 'f':
		return r.word("false", object.False)
	case c == 'n':
		return r.word("null", object.Nil)
	}
	return nil, r.unexpected("instead of a value")
}

func (r *jsonReader[T]) object(depth int) (object.Object, error) {
	if depth > maxJSONDepth {
		return nil, r.fail("nested more than %d deep", maxJSONDepth)
	}
	items := map[string]object.Object{}
	r.pos++
	if r.accept('}') {
		return object.NewMap(items), nil
	}
	for {
		if r.blank(); r.pos >= len(r.src) || r.src[r.pos] != '"' {
			return nil, r.unexpected("instead of a name in quotes")
		}
		name, err := r.text()
		if err != nil {
			return nil, err
		}
		if !r.accept(':') {
			return nil, r.unexpected("instead of ':'")
		}
		if items[name], err = r.value(depth); err != nil {
			return nil, err
		}
		switch {
		case r.accept(','):
		case r.accept('}'):
			return object.NewMap(items), nil
		default:
			return nil, r.unexpected("instead of ',' or '}'")
		}
	}
}

func (r *jsonReader[T]) array(depth int) (object.Object, error) {
	if depth > maxJSONDepth {
		return nil, r.fail("nested more than %d deep", maxJSONDepth)
	}
	var items []object.Object
	r.pos++
	if r.accept(']') {
		return object.NewList(items), nil
	}
	for {
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
		switch {
		case r.accept(','):
		case r.accept(']'):
			return object.NewList(items), nil
		default:
			return nil, r.unexpected("instead of ',' or ']'")
		}
	}
}

func (r *jsonReader[T]) number() (object.Object, error) {
	start, integer := r.pos, true
	r.skip('-')
	if !r.skip('0') && r.digits() == 0 {
		return nil, r.unexpected("in a number")
	}
	if r.skip('.') {
		integer = false
		if r.digits() == 0 {
			return nil, r.unexpected("in a number")
		}
	}
	if r.skip('e') || r.skip('E') {
		integer = false
		if !r.skip('+') {
			r.skip('-')
		}
		if r.digits() == 0 {
			return nil, r.unexpected("in a number")
		}
	}
	text := string(r.src[start:r.pos])
	if integer && text != "-0" {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return object.NewInt(n), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.pos = start
		return nil, r.fail("the number does not fit")
	}
	return object.NewFloat(f), nil
}

func (r *jsonReader[T]) digits() (n int) {
	for r.pos < len(r.src) && r.src[r.pos] >= '0' && r.src[r.pos] <= '9' {
		r.pos++
		n++
	}
	return n
}

// text reads a string; the position is at its opening quote.
func (r *jsonReader[T]) text() (string, error) {
	r.pos++
	start := r.pos
	for i := start; i < len(r.src); i++ {
		switch c := r.src[i]; {
		case c == '"':
			r.pos = i + 1
			s := string(r.src[start:i])
			if !utf8.ValidString(s) {
				r.pos = start
				return "", r.fail("text is not UTF-8")
			}
			return s, nil
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			r.pos = i
			return "", r.unexpected("in a string")
		}
	}
	r.pos = len(r.src)
	return "", r.unexpected("in a string")
}

// escaped reads on from the first escape, at i.
func (r *jsonReader[T]) escaped(start, i int) (string, error) {
	out := append(make([]byte, 0, 2*(i-start)+16), r.src[start:i]...)
	r.pos = i
	for r.pos < len(r.src) {
		c := r.src[r.pos]
		switch {
		case c == '"':
			r.pos++
			if !utf8.Valid(out) {
				r.pos = start
				return "", r.fail("text is not UTF-8")
			}
			return string(out), nil
		case c < ' ':
			return "", r.unexpected("in a string")
		case c != '\\':
			out = append(out, c)
			r.pos++
			continue
		}
		if r.pos++; r.pos >= len(r.src) {
			break
		}
		c = r.src[r.pos]
		if at := strings.IndexByte(`"\/bfnrt`, c); at >= 0 {
			out = append(out, "\"\\/\b\f\n\r\t"[at])
			r.pos++
			continue
		}
		if c != 'u' {
			return "", r.unexpected("behind a backslash")
		}
		u, err := r.unit()
		if err != nil {
			return "", err
		}
		out = utf8.AppendRune(out, u)
	}
	return "", r.unexpected("in a string")
}

// unit reads \uXXXX, and a second one if they are a pair; the position is at
// the u.
func (r *jsonReader[T]) unit() (rune, error) {
	first, ok := r.hex(r.pos + 1)
	if !ok {
		return 0, r.unexpected("in \\uXXXX")
	}
	r.pos += 5
	if utf16.IsSurrogate(first) && r.pos+1 < len(r.src) && r.src[r.pos] == '\\' && r.src[r.pos+1] == 'u' {
		if second, ok := r.hex(r.pos + 2); ok {
			if both := utf16.DecodeRune(first, second); both != utf8.RuneError {
				r.pos += 6
				return both, nil
			}
		}
	}
	if utf16.IsSurrogate(first) {
		return utf8.RuneError, nil
	}
	return first, nil
}

func (r *jsonReader[T]) hex(at int) (rune, bool) {
	if at+4 > len(r.src) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.src[at:at+4]), 16, 16)
	return rune(n), err == nil
}

func (r *jsonReader[T]) word(word string, v object.Object) (object.Object, error) {
	if end := r.pos + len(word); end <= len(r.src) && string(r.src[r.pos:end]) == word {
		r.pos = end
		return v, nil
	}
	return nil, r.unexpected("instead of a value")
}

func (r *jsonReader[T]) blank() {
	for r.pos < len(r.src) {
		switch r.src[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// accept skips blanks, and c if it is next.
func (r *jsonReader[T]) accept(c byte) bool {
	r.blank()
	return r.skip(c)
}

func (r *jsonReader[T]) skip(c byte) bool {
	if r.pos < len(r.src) && r.src[r.pos] == c {
		r.pos++
		return true
	}
	return false
}

func (r *jsonReader[T]) unexpected(where string) error {
	if r.pos >= len(r.src) {
		return r.fail("it ends %s", strings.Replace(where, "instead of", "before", 1))
	}
	c, _ := utf8.DecodeRuneInString(string(r.src[r.pos:min(r.pos+utf8.UTFMax, len(r.src))]))
	return r.fail("unexpected %q %s", c, where)
}

// fail locates an error. Columns count bytes: what is wrong may be no text.
func (r *jsonReader[T]) fail(format string, args ...any) error {
	before := string(r.src[:min(r.pos, len(r.src))])
	line := 1 + strings.Count(before, "\n")
	column := len(before) - strings.LastIndexByte(before, '\n')
	return hostcall.Errorf("json_invalid", "invalid JSON at %d:%d: %s", line, column, fmt.Sprintf(format, args...))
}
