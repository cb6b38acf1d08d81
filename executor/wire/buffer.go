package wire

import (
	"sync"

	"github.com/picloud/picloud/internal/budget"
)

// classes are the capacities of pooled buffers in bytes. Larger ones are left
// to the garbage collector.
var classes = [...]int{1 << 10, 8 << 10, 64 << 10, 1 << 20}

var pools [len(classes)]sync.Pool

// Buffer is pooled memory with one owner. The owner calls Release once. Afterwards
// nobody may use B, or memory that aliases it.
type Buffer struct {
	B     []byte
	class int8 // index of classes; -1: not pooled

	memory *budget.Budget // that held bytes were taken of
	held   int64
}

// NewBuffer returns a buffer whose B has n bytes of undefined content.
func NewBuffer(n int) *Buffer {
	for i, size := range classes {
		if n > size {
			continue
		}
		if b, ok := pools[i].Get().(*Buffer); ok {
			b.B = b.B[:n]
			return b
		}
		return &Buffer{B: make([]byte, n, size), class: int8(i)}
	}
	return &Buffer{B: make([]byte, n), class: -1}
}

// reserved returns a buffer of n bytes that were reserved first, or nil when they do
// not fit.
func reserved(memory *budget.Budget, n int) *Buffer {
	size := int64(n)
	for _, class := range classes {
		if n <= class {
			size = int64(class)
			break
		}
	}
	if !memory.Take(size) {
		return nil
	}
	b := NewBuffer(n)
	b.memory, b.held = memory, size
	return b
}

// Release gives the memory back. A nil buffer is fine.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	b.Forget()
	if b.class >= 0 {
		pools[b.class].Put(b)
	}
}

// Forget returns what was reserved for the buffer, and leaves its memory to those who
// may still read it. A nil buffer is fine.
func (b *Buffer) Forget() {
	if b != nil {
		b.memory.Give(b.held)
		b.memory, b.held = nil, 0
	}
}
