package wire

import (
	"errors"
	"fmt"
	"io"

	"github.com/picloud/picloud/internal/budget"
)

// readSize is the size of a reader's buffer: how much one read(2) takes.
const readSize = 32 << 10

// growStep is how much memory the reader allocates at most for bytes that were
// announced and have not arrived.
const growStep = 1 << 20

// growth is by what that memory grows each time.
const growth = 4

// cutAt is how much stays of a payload for which there is no memory, in bytes: enough
// to tell what was asked.
const cutAt = 1 << 10

// Admit decides about a frame before memory is taken for it: it returns the
// largest payload that this frame may have, or why the conversation ends.
type Admit func(Header) (limit int, err error)

// Reader takes frames from a stream, many per read. It is for one goroutine.
type Reader struct {
	src   io.Reader
	admit Admit
	buf   []byte
	r, w  int // unread bytes are buf[r:w]

	payload []byte
	big     *Buffer        // owns payload when it did not fit into buf
	memory  *budget.Budget // for such payloads; nil: no limit
	cut     bool           // the last payload was cut
}

// NewReader returns a reader of src. A nil admit accepts every frame up to
// MaxPayload.
func NewReader(src io.Reader, admit Admit) *Reader {
	return &Reader{src: src, admit: admit, buf: make([]byte, readSize)}
}

// Charge reserves memory for each payload that does not fit into the reader's own
// buffer, before the memory is allocated. Release of the payload's buffer returns it.
// When it does not fit, Next returns the first bytes of the payload, skips the rest,
// and Cut reports true: the conversation goes on.
func (r *Reader) Charge(memory *budget.Budget) { r.memory = memory }

// Cut reports whether the payload of the last Next lacks its end.
func (r *Reader) Cut() bool { return r.cut }

// Next returns the next frame. The payload is valid until the next call of
// Next. A stream that ends between frames gives io.EOF, inside a frame
// io.ErrUnexpectedEOF. After an error the reader must not be used again.
func (r *Reader) Next() (Header, []byte, error) {
	r.big.Release()
	r.big, r.payload, r.cut = nil, nil, false
	if err := r.fill(HeaderSize); err != nil {
		return Header{}, nil, err
	}
	h, err := parseHeader(r.buf[r.r:r.w])
	if err != nil {
		return h, nil, err
	}
	limit := MaxPayload
	if r.admit != nil {
		if limit, err = r.admit(h); err != nil {
			return h, nil, fmt.Errorf("admit %s frame: %w", h.Type, err)
		}
	}
	if int64(h.Length) > int64(min(limit, MaxPayload)) {
		return h, nil, fmt.Errorf("read %s frame of %d bytes, %d allowed: %w", h.Type, h.Length, limit, ErrTooLong)
	}
	n := int(h.Length)
	if n > len(r.buf)-HeaderSize {
		r.r += HeaderSize
		err = r.readBig(n)
		return h, r.payload, err
	}
	if err := r.fill(HeaderSize + n); err != nil {
		return h, nil, unexpected(err)
	}
	r.payload = r.buf[r.r+HeaderSize : r.r+HeaderSize+n]
	r.r += HeaderSize + n
	return h, r.payload, nil
}

// Close releases the last payload. Nobody uses the reader any more.
func (r *Reader) Close() {
	r.big.Release()
	r.big, r.payload = nil, nil
}

// Take makes the payload of the last Next the caller's own: it stays valid
// until the buffer's Release. Large payloads are handed over, small ones copied.
func (r *Reader) Take() *Buffer {
	if b := r.big; b != nil {
		r.big = nil
		return b
	}
	b := NewBuffer(len(r.payload))
	copy(b.B, r.payload)
	return b
}

// More reports whether the next frame has arrived whole, so that Next will not
// read.
func (r *Reader) More() bool {
	if r.w-r.r < HeaderSize {
		return false
	}
	h, err := parseHeader(r.buf[r.r:r.w])
	return err != nil || int64(r.w-r.r-HeaderSize) >= int64(h.Length)
}

// fill reads until n bytes are buffered; n is at most the size of the buffer.
func (r *Reader) fill(n int) error {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if r.w-r.r < n && r.r+n > len(r.buf) {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	for r.w-r.r < n {
		got, err := r.src.Read(r.buf[r.w:])
		r.w += got
		if got > 0 {
			continue
		}
		if err == nil {
			err = io.ErrNoProgress
		}
		if r.w > r.r {
			err = unexpected(err)
		}
		return err
	}
	return nil
}

// readBig reads a payload of n bytes into memory of its own, which grows as the
// bytes arrive: a peer that only announces a large payload gets little.
func (r *Reader) readBig(n int) error {
	if err := r.fill(cutAt); err != nil {
		return unexpected(err)
	}
	if r.w-r.r >= n { // with the next header it just fits
		r.payload = r.buf[r.r : r.r+n]
		r.r += n
		return nil
	}
	head := r.buf[r.r:r.w]
	r.r = r.w
	b := reserved(r.memory, min(n, growStep))
	if b == nil {
		return r.cutOff(head, n-len(head))
	}
	got := copy(b.B, head)
	for {
		k, err := io.ReadFull(r.src, b.B[got:])
		got += k
		if err != nil {
			b.Release()
			return unexpected(err)
		}
		if got == n {
			r.big, r.payload = b, b.B
			return nil
		}
		size := growth * got
		if n-size < growStep {
			size = n
		}
		grown := reserved(r.memory, size)
		if grown == nil {
			err := r.cutOff(b.B[:cutAt], n-got)
			b.Release()
			return err
		}
		copy(grown.B, b.B)
		b.Release()
		b = grown
	}
}

// cutOff makes head the payload, and skips what is left of it in the stream.
func (r *Reader) cutOff(head []byte, left int) error {
	n := copy(r.buf[:cutAt], head)
	skip := r.buf[cutAt:]
	for left > 0 {
		got, err := io.ReadFull(r.src, skip[:min(left, len(skip))])
		left -= got
		if err != nil {
			return unexpected(err)
		}
	}
	r.r, r.w = 0, 0
	r.payload, r.cut = r.buf[:n], true
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
