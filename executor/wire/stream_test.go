package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/internal/budget"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReaderRefusesHeaders(t *testing.T) {
	good := AppendFrame(nil, TypeCancel, 1, nil)
	for name, change := range map[string]func(b []byte){
		"unknown type":  func(b []byte) { b[4] = 99 },
		"hole in types": func(b []byte) { b[4] = 10 },
		"zero type":     func(b []byte) { b[4] = 0 },
		"flags":         func(b []byte) { b[5] = 1 },
		"reserved":      func(b []byte) { b[7] = 1 },
	} {
		b := bytes.Clone(good)
		change(b)
		_, _, err := NewReader(bytes.NewReader(b), nil).Next()
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	b := bytes.Clone(good)
	binary.LittleEndian.PutUint32(b, MaxPayload+1)
	_, _, err := NewReader(bytes.NewReader(b), nil).Next()
	require.ErrorIs(t, err, ErrTooLong)
}

func TestReaderAdmits(t *testing.T) {
	stream := AppendFrame(nil, TypeFailure, 9, &Failure{Reason: ReasonError, Message: "0123456789"})
	refuse := errors.New("no such call")
	_, _, err := NewReader(bytes.NewReader(stream), func(h Header) (int, error) {
		require.Equal(t, uint64(9), h.ID)
		return 0, refuse
	}).Next()
	require.ErrorIs(t, err, refuse)
	_, _, err = NewReader(bytes.NewReader(stream), func(Header) (int, error) { return 5, nil }).Next()
	require.ErrorIs(t, err, ErrTooLong)
}

// TestReaderTruncated ends the stream inside the header, inside a small and
// inside a large payload.
func TestReaderTruncated(t *testing.T) {
	small := AppendFrame(nil, TypeResult, 1, &Result{Status: 200, Body: []byte("abc")})
	large := AppendFrame(nil, TypeResult, 1, &Result{Status: 200, Body: make([]byte, 3<<20)})
	for _, cut := range [][]byte{small[:1], small[:15], small[:16], small[:len(small)-1], large[:20], large[:40<<10], large[:2<<20]} {
		_, _, err := NewReader(bytes.NewReader(cut), nil).Next()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, len(cut))
	}
}

// TestReaderMemory announces the largest payload and sends almost none of it.
func TestReaderMemory(t *testing.T) {
	h := make([]byte, HeaderSize)
	putHeader(h, Header{Length: MaxPayload, Type: TypeResult, ID: 1})
	used := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			_, _, err := NewReader(bytes.NewReader(append(h[:HeaderSize:HeaderSize], 1, 2, 3)), nil).Next()
			require.Error(b, err)
		}
	})
	require.Less(t, used.AllocedBytesPerOp(), int64(2<<20))
}

// TestTake keeps payloads while the reader goes on.
func TestTake(t *testing.T) {
	var stream []byte
	sizes := []int{0, 10, 5_000, 30_000, 40_000, 2 << 20, 10}
	for i, n := range sizes {
		stream = AppendFrame(stream, TypeResult, uint64(i), &Result{Status: 200, Body: bytes.Repeat([]byte{byte(i)}, n)})
	}
	r := NewReader(bytes.NewReader(stream), nil)
	taken := make([]*Buffer, len(sizes))
	for i := range sizes {
		_, _, err := r.Next()
		require.NoError(t, err)
		taken[i] = r.Take()
	}
	for i, b := range taken {
		var res Result
		require.NoError(t, res.Decode(b.B))
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, sizes[i]), res.Body)
		b.Release()
	}
}

func TestMore(t *testing.T) {
	frame := AppendFrame(nil, TypeCancel, 1, nil)
	r := NewReader(bytes.NewReader(append(append(bytes.Clone(frame), frame...), frame[:8]...)), nil)
	require.False(t, r.More())
	_, _, err := r.Next()
	require.NoError(t, err)
	require.True(t, r.More())
	_, _, err = r.Next()
	require.NoError(t, err)
	require.False(t, r.More())
}

// TestConcurrentSenders sends frames of all sizes from many goroutines over a
// socket: each arrives once and whole, those of one sender in order.
func TestConcurrentSenders(t *testing.T) {
	for _, yield := range []bool{false, true} {
		a, b := net.Pipe()
		w := NewWriter(a, yield)
		const senders, each = 16, 60
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					size := []int{3, 200, 17 << 10, 300 << 10}[(s+i)%4]
					body := bytes.Repeat([]byte{byte(s)}, size)
					if err := w.Send(TypeResult, uint64(s)<<32|uint64(i), &Result{Status: 200, Body: body}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		r := NewReader(b, nil)
		next := make([]uint64, senders)
		for range senders * each {
			h, payload, err := r.Next()
			require.NoError(t, err)
			s := h.ID >> 32
			require.Equal(t, next[s], h.ID&0xffffffff)
			next[s]++
			var res Result
			require.NoError(t, res.Decode(payload))
			require.Equal(t, len(res.Body), bytes.Count(res.Body, []byte{byte(s)}))
		}
		wg.Wait()
		require.Zero(t, w.Progress()%2)
		require.NoError(t, a.Close())
		require.Error(t, w.Send(TypeCancel, 1, nil))
		require.NoError(t, b.Close())
	}
}

// TestQueue sends queued frames ahead of the next one, in one write.
func TestQueue(t *testing.T) {
	var out countingWriter
	w := NewWriter(&out, false)
	w.Queue(TypeUnload, 1, nil)
	w.Queue(TypeLoad, 1, &Load{Source: make([]byte, 2*copyBelow)})
	require.Zero(t, out.writes)
	require.NoError(t, w.Send(TypeCancel, 2, nil))
	require.Equal(t, 1, out.writes)
	r := NewReader(&out.Buffer, nil)
	for _, want := range []Type{TypeUnload, TypeLoad, TypeCancel} {
		h, _, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, want, h.Type)
	}
	w.Queue(TypeUnload, 1, nil)
	require.NoError(t, w.Flush())
	require.NoError(t, w.Flush())
	require.Equal(t, 2, out.writes)
}

type countingWriter struct {
	bytes.Buffer
	writes int
}

func (w *countingWriter) Write(b []byte) (int, error) {
	w.writes++
	return w.Buffer.Write(b)
}

// TestSlowPeer fills a writer whose peer does not read: senders wait instead of
// queueing without bound, Progress shows the stall, and Close frees them.
func TestSlowPeer(t *testing.T) {
	a, b := net.Pipe()
	w := NewWriter(a, false)
	closed := errors.New("worker ended")
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			var err error
			for n := 0; err == nil && n < 100; n++ {
				size := 10 << 10
				if i%8 == 0 {
					size = 100 << 10
				}
				err = w.Send(TypeResult, uint64(i), &Result{Status: 200, Body: make([]byte, size)})
			}
			if err == nil {
				t.Error("a sender got 100 frames past a peer that reads nothing")
			}
		})
	}
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.waiting == 63
	}, 5*time.Second, time.Millisecond)
	require.Less(t, len(w.pending), 2*maxPending)
	require.Equal(t, uint64(1), w.Progress())
	w.Close(closed)
	require.NoError(t, b.Close())
	wg.Wait()
	require.Equal(t, closed, w.Send(TypeCancel, 1, nil))
}

// TestCharge has no memory for some payloads: it takes none, skips them, and goes on.
func TestCharge(t *testing.T) {
	var stream []byte
	sizes := []int{100, 3 << 20, 40_000, 200, 30 << 10, 2 << 20, 32<<10 - 20, 32 << 10, 1 << 20, 7}
	for i, n := range sizes {
		stream = AppendFrame(stream, TypeHostCall, uint64(i), &HostCall{Seq: uint32(i), Name: "kv.set", Args: make([]byte, n)})
	}
	const room = 3<<20 + 1000
	for _, src := range []io.Reader{bytes.NewReader(stream), iotest.HalfReader(bytes.NewReader(stream)), iotest.OneByteReader(bytes.NewReader(stream))} {
		memory := budget.New(room)
		r := NewReader(src, nil)
		r.Charge(memory)
		for i, n := range sizes {
			h, payload, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, uint64(i), h.ID)
			require.Equal(t, n >= 3<<20, r.Cut(), "%d bytes; memory for the copy while it grows counts too", n)
			var call HostCall
			if r.Cut() {
				require.NoError(t, call.DecodeHead(payload))
				require.Zero(t, memory.Used())
			} else {
				require.NoError(t, call.Decode(payload))
				require.Len(t, call.Args, n)
			}
			require.Equal(t, HostCall{Seq: uint32(i), Name: "kv.set"}, HostCall{Seq: call.Seq, Name: call.Name})
		}
		_, _, err := r.Next()
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, memory.Used())
	}

	memory := budget.New(1 << 20)
	frame := AppendFrame(nil, TypeHostCall, 1, &HostCall{Seq: 1, Name: "kv.set", Args: make([]byte, 100_000)})
	for _, cut := range []int{1, 90_000} {
		r := NewReader(bytes.NewReader(frame[:len(frame)-cut]), nil)
		r.Charge(memory)
		_, _, err := r.Next()
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.Zero(t, memory.Used(), "what ended early holds nothing")
	}
	r := NewReader(bytes.NewReader(frame), nil)
	r.Charge(memory)
	_, _, err := r.Next()
	require.NoError(t, err)
	require.NotZero(t, memory.Used())
	b := r.Take()
	r.Close()
	require.NotZero(t, memory.Used(), "taken payloads are their owner's")
	b.Forget()
	b.Release()
	require.Zero(t, memory.Used())
}
