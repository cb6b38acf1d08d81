package hostcall

import (
	"bytes"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/picloud/picloud/internal/value"
)

// maxCount is the number of arguments of the longest host call.
const maxCount = 4

// Arguments are those of one host call: checked, but not decoded. They alias the
// bytes that they were parsed from. The zero value has none.
type Arguments struct {
	body   []byte          // the values, one behind the other
	count  int             // of all; the place of the first maxCount is known
	ends   [maxCount]int32 // of each value in body
	depths [maxCount]uint8 // of lists and maps within each value
}

// Clone returns the arguments in memory of their own.
func (a Arguments) Clone() Arguments {
	a.body = bytes.Clone(a.body)
	return a
}

// Parse walks encoded arguments once. It returns how many values there are in them,
// nested ones included: what the host needs for a call grows with that. The empty
// input and null mean that there are no arguments. An error means that the worker
// broke the protocol.
func Parse(encoded []byte) (a Arguments, items int, err error) {
	if item := value.Item(encoded); len(item) <= 1 && item.IsNull() {
		return a, len(item), nil
	}
	n, rest, err := value.CutList(encoded)
	items, a.body = 1, rest
	for i := 0; i < n && err == nil; i++ {
		var shape value.Shape
		_, rest, shape, err = value.Cut(rest, 1)
		if items += shape.Items; i < maxCount {
			a.ends[i], a.depths[i] = int32(len(a.body)-len(rest)), uint8(shape.Depth)
		}
	}
	if err == nil && len(rest) > 0 {
		err = value.ErrMalformed
	}
	if n == 0 {
		a.body = nil
	}
	if err != nil {
		return Arguments{}, 0, fmt.Errorf("read the arguments of a host call: %w", err)
	}
	a.count = n
	return a, items, nil
}

// reader reads arguments one after the other; err is the first fault.
type reader struct {
	Arguments
	call string // name of the host call
	next int
	err  *Error
}

// read begins to read the arguments of a call that has n.
func read(call string, a Arguments, n int) reader {
	r := reader{Arguments: a, call: call}
	if a.count != n {
		r.err = Errorf(CodeInvalidArguments, "%s has %d arguments, not %d", call, n, a.count)
	}
	return r
}

// done returns the first fault.
func (r *reader) done() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

func (r *reader) fail(code, format string, args ...any) {
	if r.err == nil {
		r.err = Errorf(code, format, args...)
	}
}

func (r *reader) wrong(name, want string) {
	r.fail(CodeInvalidArguments, "%s: %s must be %s", r.call, name, want)
}

// take returns the next argument, and how deep it is.
func (r *reader) take() (item value.Item, depth int) {
	if r.err != nil {
		return nil, 0
	}
	from := int32(0)
	if r.next > 0 {
		from = r.ends[r.next-1]
	}
	end := r.ends[r.next]
	item, depth = r.body[from:end:end], int(r.depths[r.next])
	r.next++
	return item, depth
}

func (r *reader) text(name string) string {
	item, _ := r.take()
	s, ok := item.Text()
	if !ok {
		r.wrong(name, "a string")
	}
	return s
}

func (r *reader) integer(name string, low, high int64) int64 {
	item, _ := r.take()
	return r.within(item, name, low, high)
}

func (r *reader) within(item value.Item, name string, low, high int64) int64 {
	n, ok := item.Int()
	if !ok || n < low || n > high {
		r.wrong(name, fmt.Sprintf("a whole number between %d and %d", low, high))
		return 0
	}
	return n
}

// key reads a key of the key-value store.
func (r *reader) key() string {
	key := r.text("key")
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) || strings.ContainsRune(key, 0) {
		r.fail(CodeKVInvalidKey, "%q is not a valid key: a key has 1 to %d bytes of UTF-8 without NUL", shorten(key, 80), MaxKey)
	}
	return key
}

// shorten cuts s to at most n bytes plus an ellipsis, for messages that quote a script.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// value reads a value for the key-value store. It stays encoded.
func (r *reader) value() value.Item {
	item, depth := r.take()
	switch {
	case depth > MaxDepth:
		r.fail(CodeKVInvalidValue, "the value is nested more than %d deep", MaxDepth)
	case len(item) > MaxValue:
		r.fail(CodeKVTooLarge, "the value has %d bytes, more than %d", len(item), MaxValue)
	}
	return item
}

// ttl reads a time to live.
func (r *reader) ttl() time.Duration {
	return time.Duration(r.integer("ttl", 0, MaxTTL.Milliseconds())) * time.Millisecond
}
