package wire

import (
	"bytes"
	"io"
	"testing"
	"time"
)

var hello = &Invoke{
	Slot: 1, Timeout: 10 * time.Second, Trigger: "http", ID: "01JABCDEFGHJKMNPQRSTVWXYZ0", Method: "GET", Path: "/", Query: "name=Ada",
	ClientIP: "127.0.0.1", Header: map[string][]string{"User-Agent": {"wrk"}, "Accept": {"*/*"}, "Host": {"localhost"}},
}

func BenchmarkInvokeEncode(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendFrame(buf[:0], TypeInvoke, 1, hello)
	}
}

func BenchmarkInvokeDecode(b *testing.B) {
	b.ReportAllocs()
	payload := AppendFrame(nil, TypeInvoke, 1, hello)[HeaderSize:]
	var v Invocation
	for b.Loop() {
		if err := v.Decode(payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResult(b *testing.B) {
	b.ReportAllocs()
	in := &Result{200, Pairs{}.AppendPair("content-type", "application/json"), []byte(`{"hello":"Ada"}`)}
	var buf []byte
	var out Result
	for b.Loop() {
		buf = AppendFrame(buf[:0], TypeResult, 1, in)
		if err := out.Decode(buf[HeaderSize:]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReader parses frames that arrive many at once.
func BenchmarkReader(b *testing.B) {
	b.ReportAllocs()
	frame := AppendFrame(nil, TypeInvoke, 1, hello)
	src := &loop{stream: bytes.Repeat(frame, 100)}
	r := NewReader(src, nil)
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if _, _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriter sends frames to nowhere.
func BenchmarkWriter(b *testing.B) {
	b.ReportAllocs()
	w := NewWriter(io.Discard, false)
	for b.Loop() {
		if err := w.Send(TypeInvoke, 1, hello); err != nil {
			b.Fatal(err)
		}
	}
}

// loop is an endless stream.
type loop struct {
	stream []byte
	at     int
}

func (l *loop) Read(p []byte) (int, error) {
	if l.at == len(l.stream) {
		l.at = 0
	}
	n := copy(p, l.stream[l.at:])
	l.at += n
	return n, nil
}
