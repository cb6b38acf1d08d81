package value

import (
	"encoding/binary"
	"iter"
	"math"
)

// Item is one encoded value that Cut or Check accepted, or that the Append
// functions made. The methods of any other bytes return nothing useful, but they do
// no harm: each read is within the bytes. An empty item is null.
type Item []byte

// IsNull reports whether the item is null.
func (i Item) IsNull() bool { return len(i) == 0 || i[0] == codeNull }

// Bool returns a boolean; ok is false when the item is something else.
func (i Item) Bool() (b, ok bool) {
	if len(i) != 1 {
		return false, false
	}
	return i[0] == codeTrue, i[0] == codeTrue || i[0] == codeFalse
}

// Int returns an integer. It accepts any bytes and takes nothing but one integer
// of 64 bits for an integer, in whatever form its length has.
func (i Item) Int() (n int64, ok bool) {
	if len(i) == 0 || i[0]&majorMask > majorNeg {
		return 0, false
	}
	u, rest, ok := head(i)
	if !ok || len(rest) > 0 || u > math.MaxInt64 {
		return 0, false
	}
	if i[0]&majorMask == majorNeg {
		return -1 - int64(u), true
	}
	return int64(u), true
}

// Float returns a float. An integer is not a float.
func (i Item) Float() (f float64, ok bool) {
	if len(i) == 0 {
		return 0, false
	}
	switch {
	case i[0] == codeHalf && len(i) == 3:
		return widen(binary.BigEndian.Uint16(i[1:])), true
	case i[0] == codeSingle && len(i) == 5:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(i[1:]))), true
	case i[0] == codeDouble && len(i) == 9:
		return math.Float64frombits(binary.BigEndian.Uint64(i[1:])), true
	}
	return 0, false
}

// Text returns a copy of a text.
func (i Item) Text() (s string, ok bool) {
	part, ok := i.sequence(majorText)
	return string(part), ok
}

// TextBytes returns the bytes of a text, which alias the item.
func (i Item) TextBytes() (b []byte, ok bool) { return i.sequence(majorText) }

// Bytes returns bytes, which alias the item.
func (i Item) Bytes() (b []byte, ok bool) { return i.sequence(majorBytes) }

func (i Item) sequence(major byte) ([]byte, bool) {
	if len(i) == 0 || i[0]&majorMask != major {
		return nil, false
	}
	n, rest, ok := head(i)
	if !ok || n != uint64(len(rest)) {
		return nil, false
	}
	return rest, true
}

// List returns the number of items of a list, and the items.
func (i Item) List() (n int, items iter.Seq[Item], ok bool) {
	n, body, ok := i.container(majorList, MaxItems)
	if !ok {
		return 0, nil, false
	}
	return n, func(yield func(Item) bool) {
		for rest := body; len(rest) > 0; {
			var item Item
			if item, rest = next(rest); !yield(item) {
				return
			}
		}
	}, true
}

// Map returns the number of pairs of a map, and the pairs in the order of their keys.
func (i Item) Map() (n int, pairs iter.Seq2[string, Item], ok bool) {
	n, body, ok := i.container(majorMap, MaxPairs)
	if !ok {
		return 0, nil, false
	}
	return n, func(yield func(string, Item) bool) {
		for rest := body; len(rest) > 0; {
			var key, item Item
			key, rest = next(rest)
			name, _ := key.Text()
			if item, rest = next(rest); !yield(name, item) {
				return
			}
		}
	}, true
}

func (i Item) container(major byte, most uint64) (n int, body []byte, ok bool) {
	if len(i) == 0 || i[0]&majorMask != major {
		return 0, nil, false
	}
	length, body, ok := head(i)
	if !ok || length > most {
		return 0, nil, false
	}
	return int(length), body, true
}

// next splits the first item off. Of bytes that Cut refuses it takes all.
func next(b []byte) (item Item, rest []byte) {
	left := uint64(1) // items that are still to come
	for rest = b; left > 0; left-- {
		if len(rest) == 0 {
			return b, nil
		}
		first := rest[0]
		n, behind, ok := head(rest)
		if !ok {
			return b, nil
		}
		rest = behind
		switch first & majorMask {
		case majorBytes, majorText:
			if n > uint64(len(rest)) {
				return b, nil
			}
			rest = rest[n:]
		case majorList, majorMap:
			if n > uint64(len(rest)) {
				return b, nil
			}
			left += n
			if first&majorMask == majorMap {
				left += n
			}
		}
	}
	n := len(b) - len(rest)
	return b[:n:n], rest
}
