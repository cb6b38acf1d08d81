package agent

import (
	"crypto/rand"
	"encoding/base32"
	"sync/atomic"
)

// callIDs makes invocation ids: eight random characters per process, then a
// counter. They are unique across nodes and restarts, and cost one allocation.
type callIDs struct {
	prefix [8]byte
	next   atomic.Uint64
}

const callIDAlphabet = "0123456789abcdefghijklmnopqrstuv"

var callIDEncoding = base32.NewEncoding(callIDAlphabet).WithPadding(base32.NoPadding)

func newCallIDs() *callIDs {
	var random [5]byte
	rand.Read(random[:])
	c := &callIDs{}
	callIDEncoding.Encode(c.prefix[:], random[:])
	return c
}

func (c *callIDs) id() string {
	var b [18]byte
	copy(b[:], c.prefix[:])
	n := c.next.Add(1)
	for i := len(b) - 1; i >= len(c.prefix); i-- {
		b[i] = callIDAlphabet[n&31]
		n >>= 5
	}
	return string(b[:])
}
