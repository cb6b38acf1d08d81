package wire

import (
	"encoding/binary"
	"fmt"
)

// The major types of CBOR (RFC 8949) that frames use.
const (
	majorUint  = 0 << 5
	majorBytes = 2 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
)

// appendHeadOf appends the initial bytes of an item: a major type and its argument.
func appendHeadOf(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= 0xff:
		return append(dst, major|24, byte(n))
	case n <= 0xffff:
		return append(dst, major|25, byte(n>>8), byte(n))
	case n <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

func appendUint(dst []byte, n uint64) []byte { return appendHeadOf(dst, majorUint, n) }

func appendArray(dst []byte, n int) []byte { return appendHeadOf(dst, majorArray, uint64(n)) }

// appendBytes appends s as a byte string. Text travels as bytes too: HTTP carries text
// that is not UTF-8, and the reader checks it.
func appendBytes[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(appendHeadOf(dst, majorBytes, uint64(len(s))), s...)
}

// openBlock starts a byte string of unknown length; closeBlock ends it.
func openBlock(dst []byte) (out []byte, mark int) {
	dst = append(dst, majorBytes|26, 0, 0, 0, 0)
	return dst, len(dst)
}

func closeBlock(dst []byte, mark int) {
	binary.BigEndian.PutUint32(dst[mark-4:], uint32(len(dst)-mark))
}

// cursor decodes what the append functions wrote. It never allocates: what it
// returns aliases the input. After the first fault every call returns zero
// values, so that a decoder checks once, in done.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() uint64 {
	c.b, c.bad = nil, true
	return 0
}

// head reads an item of the given major type and returns its argument.
func (c *cursor) head(major byte) uint64 {
	if len(c.b) == 0 || c.b[0]&0xe0 != major {
		return c.fail()
	}
	info := c.b[0] & 0x1f
	if info < 24 {
		c.b = c.b[1:]
		return uint64(info)
	}
	size := 1 << (info - 24)
	if info > 27 || len(c.b) < 1+size {
		return c.fail()
	}
	var n uint64
	for _, x := range c.b[1 : 1+size] {
		n = n<<8 | uint64(x)
	}
	c.b = c.b[1+size:]
	return n
}

// uint reads an unsigned integer of at most limit.
func (c *cursor) uint(limit uint64) uint64 {
	n := c.head(majorUint)
	if n > limit {
		return c.fail()
	}
	return n
}

// bytes reads a byte string of at most limit bytes.
func (c *cursor) bytes(limit int) []byte {
	n := c.head(majorBytes)
	if n > uint64(limit) || n > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

// text reads a byte string into a string of its own.
func (c *cursor) text(limit int) string { return string(c.bytes(limit)) }

// list reads the head of an array of at most limit items.
func (c *cursor) list(limit int) int {
	n := c.head(majorArray)
	if n > uint64(limit) || n > uint64(len(c.b)) {
		return int(c.fail())
	}
	return int(n)
}

// record reads the head of an array of exactly n items.
func (c *cursor) record(n int) {
	if c.head(majorArray) != uint64(n) {
		c.fail()
	}
}

// done reports a fault, or bytes behind the last item.
func (c *cursor) done(what string) error {
	if c.bad || len(c.b) != 0 {
		return fmt.Errorf("decode %s: %w", what, ErrMalformed)
	}
	return nil
}
