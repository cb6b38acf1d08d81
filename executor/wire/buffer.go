package wire

import "sync"

// classes are the capacities of pooled buffers in bytes. Larger ones are left
// to the garbage collector.
var classes = [...]int{1 << 10, 8 << 10, 64 << 10, 1 << 20}

var pools [len(classes)]sync.Pool

// Buffer is pooled memory with one owner. The owner calls Release once. Afterwards
// nobody may use B, or memory that aliases it.
type Buffer struct {
	B     []byte
	class int8 // index of classes; -1: not pooled
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

// Release gives the memory back. A nil buffer is fine.
func (b *Buffer) Release() {
	if b == nil || b.class < 0 {
		return
	}
	pools[b.class].Put(b)
}
