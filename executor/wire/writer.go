package wire

import (
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	// copyBelow is the size of a tail up to which it is copied behind other
	// frames; larger ones are written from where they are.
	copyBelow = 16 << 10
	// maxPending is how many bytes wait behind a write before senders wait too.
	maxPending = 256 << 10
)

// Writer sends frames to a stream, and batches them (group commit): the first sender
// writes, and frames that other senders add meanwhile leave with its next write. A
// slow peer makes senders wait, which is backpressure; Close ends their wait.
type Writer struct {
	dst   io.Writer
	yield bool

	mu      sync.Mutex
	turn    sync.Cond // a write ended, or the writer closed
	waiting int       // goroutines in turn
	pending []byte    // frames that the next write takes
	spare   []byte    // the memory of the write before
	busy    bool      // a write is under way
	err     error

	writes atomic.Uint64 // odd while a write is under way
}

// NewWriter returns a writer to dst. With yield, a sender lets other runnable
// goroutines add their frames before it writes: fewer, larger writes.
func NewWriter(dst io.Writer, yield bool) *Writer {
	w := &Writer{dst: dst, yield: yield}
	w.turn.L = &w.mu
	return w
}

// Send queues a frame. It then writes, unless another sender is writing and will
// include the frame. Nil means that the frame is queued. After a write has failed,
// Send returns its error. A nil payload is an empty one. The caller may reuse the
// payload when Send returns.
func (w *Writer) Send(t Type, id uint64, p Payload) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.err == nil && len(w.pending) > maxPending {
		w.wait()
	}
	if w.err != nil {
		return w.err
	}
	start := len(w.pending)
	head, tail := appendHead(w.pending, t, id, p)
	if len(tail) > copyBelow {
		w.pending = head[:start]
		return w.sendAlone(t, id, p)
	}
	w.pending = append(head, tail...) //nolint:gocritic // head is what pending was, with the frame's head behind it
	if w.busy {
		return nil
	}
	w.busy = true
	if w.yield {
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
	}
	return w.flush(nil)
}

// Deliver is Send, but nil means that the frame was written.
func (w *Writer) Deliver(t Type, id uint64, p Payload) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sendAlone(t, id, p)
}

// Queue adds a frame to the next write, and neither writes nor waits. The caller
// calls Send afterwards. Queue is for frames that must precede the frame of Send.
func (w *Writer) Queue(t Type, id uint64, p Payload) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		head, tail := appendHead(w.pending, t, id, p)
		w.pending = append(head, tail...) //nolint:gocritic // head is what pending was, with the frame's head behind it
	}
}

// Flush writes the queued frames, unless another sender is about to.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy || w.err != nil {
		return w.err
	}
	w.busy = true
	return w.flush(nil)
}

// sendAlone sends a frame whose tail is not copied: it waits for its turn to
// write, and writes.
func (w *Writer) sendAlone(t Type, id uint64, p Payload) error {
	for w.busy && w.err == nil {
		w.wait()
	}
	if w.err != nil {
		return w.err
	}
	w.busy = true
	var tail []byte
	w.pending, tail = appendHead(w.pending, t, id, p)
	return w.flush(tail)
}

// flush writes what is pending, then tail, then what came meanwhile, until
// nothing is left.
func (w *Writer) flush(tail []byte) error {
	for w.err == nil && len(w.pending) > 0 {
		out := w.pending
		w.pending = w.spare[:0]
		w.mu.Unlock()
		w.writes.Add(1)
		_, err := w.dst.Write(out)
		if err == nil && len(tail) > 0 {
			_, err = w.dst.Write(tail)
		}
		w.writes.Add(1)
		tail = nil
		w.mu.Lock()
		w.spare = nil
		if cap(out) <= 2*maxPending {
			w.spare = out
		}
		if err != nil && w.err == nil {
			w.err = err
		}
		w.wake()
	}
	w.busy = false
	w.wake()
	return w.err
}

func (w *Writer) wait() {
	w.waiting++
	w.turn.Wait()
	w.waiting--
}

func (w *Writer) wake() {
	if w.waiting > 0 {
		w.turn.Broadcast()
	}
}

// Close makes every Send, waiting ones too, return err. A write that is under
// way ends when the stream is closed.
func (w *Writer) Close(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.wake()
}

// Progress returns a number that is odd while a write is under way and changes
// with each write: an odd number seen twice means that the peer did not take a
// write's bytes in between.
func (w *Writer) Progress() uint64 { return w.writes.Load() }
