package invoke

import (
	"crypto/rand"
	"encoding/base32"
	"sync/atomic"
)

// ids makes invocation ids: eight random characters per process, then a
// counter. They are unique across nodes and restarts, and cost one allocation.
type ids struct {
	prefix [8]byte
	next   atomic.Uint64
}

const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

var idEncoding = base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)

func newIDs() *ids {
	var random [5]byte
	rand.Read(random[:])
	c := &ids{}
	idEncoding.Encode(c.prefix[:], random[:])
	return c
}

func (c *ids) id() string {
	var b [18]byte
	copy(b[:], c.prefix[:])
	n := c.next.Add(1)
	for i := len(b) - 1; i >= len(c.prefix); i-- {
		b[i] = idAlphabet[n&31]
		n >>= 5
	}
	return string(b[:])
}
