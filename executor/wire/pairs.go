package wire

import (
	"fmt"
	"iter"
)

// The bounds of a header block.
const (
	MaxPairs      = 1024    // names and values in one block, a pair counted once
	MaxPairsBytes = 1 << 20 // encoded size
)

// Pairs is a block of names and values, such as HTTP headers: a flat array
// name, value, name, value, …, which stays encoded until it is read. The decoders of
// frames do not check the block. Callers check a worker's block with Check, or by a
// range over All. The nil block is empty.
type Pairs []byte

// AppendPair appends a pair to the block.
func (p Pairs) AppendPair(name, value string) Pairs {
	return appendBytes(appendBytes([]byte(p), name), value)
}

// All ranges over the pairs. The slices alias the block. The range ends early
// at a fault, which Check tells.
func (p Pairs) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		c := cursor{b: p}
		for n := 0; len(c.b) > 0 && n < MaxPairs; n++ {
			name, value := c.bytes(MaxPairsBytes), c.bytes(MaxPairsBytes)
			if c.bad || !yield(name, value) {
				return
			}
		}
	}
}

// Strings ranges over the pairs as All does. The strings share one copy of the
// block and are good for ever.
func (p Pairs) Strings() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		if len(p) == 0 {
			return
		}
		block := string(p)
		c := cursor{b: p}
		text := func() string {
			s := c.bytes(MaxPairsBytes)
			end := len(block) - len(c.b)
			if c.bad {
				return ""
			}
			return block[end-len(s) : end]
		}
		for n := 0; len(c.b) > 0 && n < MaxPairs; n++ {
			name, value := text(), text()
			if c.bad || !yield(name, value) {
				return
			}
		}
	}
}

// Check reports whether the block is well-formed and holds at most MaxPairs.
func (p Pairs) Check() error {
	c := cursor{b: p}
	n := 0
	for ; len(c.b) > 0 && n <= MaxPairs; n++ {
		c.bytes(MaxPairsBytes)
		c.bytes(MaxPairsBytes)
	}
	if c.bad || n > MaxPairs || len(p) > MaxPairsBytes {
		return fmt.Errorf("decode header block of %d bytes: %w", len(p), ErrMalformed)
	}
	return nil
}

// Get returns the first value whose name equals name, ignoring ASCII case.
func (p Pairs) Get(name string) (value []byte, ok bool) {
	for n, v := range p.All() {
		if equalFold(n, name) {
			return v, true
		}
	}
	return nil, false
}

func equalFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
