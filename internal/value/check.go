package value

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// The bounds of a value. Beyond them it is refused.
const (
	MaxDepth = 32      // lists and maps within each other
	MaxItems = 1 << 16 // of one list
	MaxPairs = 1 << 14 // of one map
)

// ErrMalformed is the cause of every error about bytes that are not a value.
var ErrMalformed = errors.New("malformed value")

// Shape is what a walk over a value found out.
type Shape struct {
	Items int // the value, those within it, and the keys of its maps
	Depth int // lists and maps within each other; 0: the value is neither
}

// Check walks the one value that b holds, once. It refuses everything that Cut
// refuses, and bytes behind the value.
func Check(b []byte) (Shape, error) {
	_, rest, shape, err := Cut(b, 0)
	if err == nil && len(rest) > 0 {
		err = malformed("bytes behind the value")
	}
	return shape, err
}

// Cut walks the first value of b, once, and splits it off. The value stands within
// outer lists and maps, which count against MaxDepth. Cut refuses a value that is
// over the bounds, cut off, tagged, of indefinite length or not UTF-8, integers
// beyond 64 bits with sign, and maps whose keys are not text or do not ascend.
func Cut(b []byte, outer int) (item Item, rest []byte, shape Shape, err error) {
	w := walker{b: b}
	if err := w.value(outer); err != nil {
		return nil, nil, Shape{}, err
	}
	n := len(b) - len(w.b)
	return Item(b[:n:n]), w.b, Shape{w.items, max(w.deepest-outer, 0)}, nil
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

var (
	errCut      = malformed("it ends too early")
	errDepth    = malformed("lists and maps are nested too deep")
	errLength   = malformed("a list or a map is too long")
	errInteger  = malformed("an integer does not fit into 64 bits")
	errText     = malformed("a text is not UTF-8")
	errKey      = malformed("a key of a map is not text")
	errOrder    = malformed("the keys of a map do not ascend")
	errCategory = malformed("an item is tagged, of indefinite length or of an unknown kind")
)

// walker checks values. Its memory is the stack of the recursion, which MaxDepth bounds.
type walker struct {
	b       []byte // what is left
	items   int
	deepest int
}

func (w *walker) value(depth int) error {
	if len(w.b) == 0 {
		return errCut
	}
	first := w.b[0]
	n, rest, ok := head(w.b)
	if !ok {
		if first&0x1f > 27 {
			return errCategory
		}
		return errCut
	}
	w.b = rest
	w.items++
	switch first & majorMask {
	case majorUint, majorNeg:
		if n > math.MaxInt64 {
			return errInteger
		}
		return nil
	case majorBytes, majorText:
		_, err := w.sequence(first&majorMask, n)
		return err
	case majorList:
		return w.list(n, depth+1)
	case majorMap:
		return w.pairs(n, depth+1)
	}
	switch first {
	case codeFalse, codeTrue, codeNull, codeHalf, codeSingle, codeDouble:
		return nil
	}
	return errCategory
}

// sequence takes the n bytes of a text or of bytes.
func (w *walker) sequence(major byte, n uint64) ([]byte, error) {
	if n > uint64(len(w.b)) {
		return nil, errCut
	}
	part := w.b[:n]
	w.b = w.b[n:]
	if major == majorText && !utf8.Valid(part) {
		return nil, errText
	}
	return part, nil
}

// enter notes that a list or map begins.
func (w *walker) enter(depth int) error {
	if depth > MaxDepth {
		return errDepth
	}
	w.deepest = max(w.deepest, depth)
	return nil
}

func (w *walker) list(n uint64, depth int) error {
	if err := w.enter(depth); err != nil {
		return err
	}
	if n > MaxItems {
		return errLength
	}
	for range n {
		if err := w.value(depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) pairs(n uint64, depth int) error {
	if err := w.enter(depth); err != nil {
		return err
	}
	if n > MaxPairs {
		return errLength
	}
	var last []byte
	for i := range n {
		key, err := w.key()
		if err != nil {
			return err
		}
		if i > 0 && (len(key) < len(last) || len(key) == len(last) && bytes.Compare(key, last) <= 0) {
			return errOrder
		}
		last = key
		if err := w.value(depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) key() ([]byte, error) {
	if len(w.b) == 0 {
		return nil, errCut
	}
	if w.b[0]&majorMask != majorText {
		return nil, errKey
	}
	n, rest, ok := head(w.b)
	if !ok {
		return nil, errCut
	}
	w.b = rest
	w.items++
	return w.sequence(majorText, n)
}

// head reads the first byte of an item and its argument. It fails when b is too
// short, and for indefinite lengths and reserved forms.
func head(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	info := b[0] & 0x1f
	if info < 24 {
		return uint64(info), b[1:], true
	}
	if info > 27 {
		return 0, nil, false
	}
	size := 1 << (info - 24)
	if len(b) < 1+size {
		return 0, nil, false
	}
	for _, x := range b[1 : 1+size] {
		n = n<<8 | uint64(x)
	}
	return n, b[1+size:], true
}

// CutList reads the head of the list that b begins with. Its n items follow in rest,
// unchecked. The error is that of Cut.
func CutList(b []byte) (n int, rest []byte, err error) {
	length, rest, ok := head(b)
	switch {
	case !ok || b[0]&majorMask != majorList:
		return 0, nil, malformed("it is not a list")
	case length > MaxItems:
		return 0, nil, errLength
	}
	return int(length), rest, nil
}
