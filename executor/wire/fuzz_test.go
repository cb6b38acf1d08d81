package wire

import (
	"bytes"
	"testing"
	"time"
)

// FuzzReader feeds a stream of foreign bytes through the reader and every
// decoder. Nothing may panic, hang or return bytes that are not there.
func FuzzReader(f *testing.F) {
	var all []byte
	for kind, p := range seeds() {
		frame := AppendFrame(nil, kind, 5, p)
		f.Add(frame)
		all = append(all, frame...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(bytes.NewReader(stream), nil)
		for total := 0; ; {
			h, payload, err := r.Next()
			if err != nil {
				return
			}
			if total += HeaderSize + len(payload); total > len(stream) || int(h.Length) != len(payload) {
				t.Fatalf("%d bytes of frames out of a stream of %d", total, len(stream))
			}
			if d := decoders[h.Type]; d != nil {
				decodeTwice(t, h.Type, payload)
			}
		}
	})
}

// FuzzDecoders gives foreign bytes to one decoder directly, so that the fuzzer
// need not find the frame.
func FuzzDecoders(f *testing.F) {
	for kind, p := range seeds() {
		f.Add(uint8(kind), AppendFrame(nil, kind, 5, p)[HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		if decoders[Type(kind)] != nil {
			decodeTwice(t, Type(kind), payload)
		}
	})
}

// FuzzValues decodes foreign dynamic values; what decodes encodes again.
func FuzzValues(f *testing.F) {
	for _, v := range []any{nil, int64(-1), "a", []any{1.5, true}, map[string]any{"k": []byte{1}}} {
		b, err := Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Unmarshal(b)
		if err != nil {
			return
		}
		if _, err := Marshal(v); err != nil {
			t.Fatalf("%#v does not encode again: %v", v, err)
		}
	})
}

// decodeTwice decodes a payload; what a decoder accepts, it must accept again
// after it was encoded.
func decodeTwice(t *testing.T, kind Type, payload []byte) {
	d := decoders[kind]()
	if d.Decode(payload) != nil {
		return
	}
	if v, ok := d.(*Invocation); ok {
		n := 0
		for _, block := range []Pairs{v.Header, v.Params} {
			for name, value := range block.All() {
				n += len(name) + len(value)
			}
		}
		if n > len(payload) {
			t.Fatalf("pairs of %d bytes out of a payload of %d", n, len(payload))
		}
		return
	}
	if err := decoders[kind]().Decode(AppendFrame(nil, kind, 1, d.(Payload))[HeaderSize:]); err != nil {
		t.Fatalf("%s %+v does not decode again: %v", kind, d, err)
	}
}

func seeds() map[Type]Payload {
	return map[Type]Payload{
		TypeConfig: &Config{Version, "shop", 64 << 20, 256},
		TypeLoad:   &Load{Function: "hello", Version: 3, Source: []byte("1"), Timeout: time.Second, Env: []byte("\xa1\x61k\x61v")},
		TypeInvoke: &Invoke{
			Slot: 1, Method: "GET", Path: "/items/a/b", RawPath: "/items/a%2Fb", Base: "/fn/shop/orders", Route: "GET /items/{id}", Query: "a=b",
			Header: map[string][]string{"A": {"b"}}, Params: Pairs{}.AppendPair("id", "a/b"), Body: []byte("x"),
		},
		TypeHostReply: &HostReply{1, "kv_conflict", "no", []byte{1}},
		TypeHello:     &Hello{Version, []string{"rlimits"}, []Missing{{"landlock", "none"}}},
		TypeLoaded:    &Loaded{Failure: Failure{ReasonScript, "no", 1, 2, "x"}, Handlers: []string{"handle"}},
		TypeResult:    &Result{200, Pairs{}.AppendPair("a", "b"), []byte("hello")},
		TypeFailure:   &Failure{ReasonError, "boom", 1, 2, "boom()"},
		TypeHostCall:  &HostCall{1, "kv.get", []byte{0x80}},
		TypeLog:       &Log{time.UnixMicro(5), LevelWarn, "hi", []byte{0xa0}},
	}
}
