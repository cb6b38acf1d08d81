package wire

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// decoder is the receiving side of a payload.
type decoder interface{ Decode(payload []byte) error }

// decoders has a constructor for every frame with a payload.
var decoders = map[Type]func() decoder{
	TypeConfig:    func() decoder { return new(Config) },
	TypeLoad:      func() decoder { return new(Load) },
	TypeInvoke:    func() decoder { return new(Invocation) },
	TypeHostReply: func() decoder { return new(HostReply) },
	TypeHello:     func() decoder { return new(Hello) },
	TypeLoaded:    func() decoder { return new(Loaded) },
	TypeResult:    func() decoder { return new(Result) },
	TypeFailure:   func() decoder { return new(Failure) },
	TypeHostCall:  func() decoder { return new(HostCall) },
	TypeLog:       func() decoder { return new(Log) },
}

var (
	anyText  = rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 200), func(b []byte) string { return string(b) })
	anyBytes = rapid.SliceOfN(rapid.Byte(), 0, 40<<10)
	anyCount = rapid.IntRange(0, 1<<31-1)
	anySpan  = rapid.Map(rapid.Int64Range(0, int64(maxTimeout/time.Microsecond)), func(n int64) time.Duration { return time.Duration(n) * time.Microsecond })
)

func anyPairs(t *rapid.T, label string) Pairs {
	p := Pairs{}
	for range rapid.IntRange(0, 20).Draw(t, label) {
		p = p.AppendPair(anyText.Draw(t, "name"), anyText.Draw(t, "value"))
	}
	return p
}

func anyFailure(t *rapid.T, low Reason) Failure {
	return Failure{
		Reason:  Reason(rapid.IntRange(int(low), int(lastReason)).Draw(t, "reason")),
		Message: anyText.Draw(t, "message"), Excerpt: anyText.Draw(t, "excerpt"),
		Line: rapid.IntRange(0, 1<<30).Draw(t, "line"), Column: rapid.IntRange(0, 1<<30).Draw(t, "column"),
	}
}

// anyPayload draws a payload that decodes into an equal value.
func anyPayload(t *rapid.T) (Type, Payload) {
	kinds := []Type{TypeConfig, TypeLoad, TypeHostReply, TypeHello, TypeLoaded, TypeResult, TypeFailure, TypeHostCall, TypeLog}
	kind := rapid.SampledFrom(kinds).Draw(t, "type")
	name := rapid.StringN(0, 20, maxName)
	seq := rapid.Uint32().Draw(t, "seq")
	switch kind {
	case TypeConfig:
		return kind, &Config{Version, name.Draw(t, "app"), rapid.Int64Range(0, 1<<40).Draw(t, "memory"), rapid.IntRange(0, MaxPrograms).Draw(t, "programs")}
	case TypeLoad:
		l := &Load{
			Mode: Mode(rapid.IntRange(0, 2).Draw(t, "mode")), Function: name.Draw(t, "function"), Version: anyCount.Draw(t, "version"),
			Source: anyBytes.Draw(t, "source"), Timeout: anySpan.Draw(t, "timeout"), ResponseBody: anyCount.Draw(t, "response"),
			LogBytes: anyCount.Draw(t, "log"), HostCalls: anyCount.Draw(t, "hostcalls"), Env: anyBytes.Draw(t, "env"),
		}
		copy(l.Digest[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "digest"))
		return kind, l
	case TypeHostReply:
		return kind, &HostReply{seq, name.Draw(t, "code"), anyText.Draw(t, "message"), anyBytes.Draw(t, "value")}
	case TypeHello:
		missing := rapid.Custom(func(t *rapid.T) Missing { return Missing{name.Draw(t, "layer"), name.Draw(t, "reason")} })
		return kind, &Hello{Version, rapid.SliceOfN(name, 1, maxLayers).Draw(t, "layers"), rapid.SliceOfN(missing, 1, maxLayers).Draw(t, "missing")}
	case TypeLoaded:
		return kind, &Loaded{anyFailure(t, 0), rapid.SliceOfN(name, 0, MaxHandlers).Draw(t, "handlers")}
	case TypeResult:
		return kind, &Result{rapid.IntRange(0, 999).Draw(t, "status"), anyPairs(t, "pairs"), anyBytes.Draw(t, "body")}
	case TypeFailure:
		f := anyFailure(t, 1)
		return kind, &f
	case TypeHostCall:
		return kind, &HostCall{seq, name.Draw(t, "name"), anyBytes.Draw(t, "args")}
	}
	at := time.UnixMicro(rapid.Int64Range(0, 1<<60).Draw(t, "time")).UTC()
	return TypeLog, &Log{at, Level(rapid.IntRange(0, 3).Draw(t, "level")), anyText.Draw(t, "message"), anyBytes.Draw(t, "fields")}
}

// TestRoundTrip sends sequences of random frames through one reader, in reads
// of any size, and expects each back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		n := rapid.IntRange(1, 12).Draw(t, "frames")
		kinds, ids, sent := make([]Type, n), make([]uint64, n), make([]Payload, n)
		for i := range n {
			kinds[i], sent[i] = anyPayload(t)
			ids[i] = rapid.Uint64().Draw(t, "id")
			stream = AppendFrame(stream, kinds[i], ids[i], sent[i])
		}
		var src io.Reader = bytes.NewReader(stream)
		switch rapid.IntRange(0, 2).Draw(t, "reads") {
		case 1:
			src = iotest.OneByteReader(src)
		case 2:
			src = iotest.HalfReader(src)
		}
		r := NewReader(src, nil)
		for i := range n {
			h, payload, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, kinds[i], h.Type)
			require.Equal(t, ids[i], h.ID)
			got := decoders[h.Type]()
			require.NoError(t, got.Decode(payload))
			require.Equal(t, sent[i], got)
		}
		_, _, err := r.Next()
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestInvokeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &Invoke{
			Slot: rapid.Uint32().Draw(t, "slot"), Timeout: anySpan.Draw(t, "timeout"), Trigger: "http",
			ID: anyText.Draw(t, "id"), Method: anyText.Draw(t, "method"), Path: anyText.Draw(t, "path"),
			RawPath: anyText.Draw(t, "raw path"), Base: anyText.Draw(t, "base"), Route: anyText.Draw(t, "route"), Params: anyPairs(t, "params"),
			Query: anyText.Draw(t, "query"), ClientIP: anyText.Draw(t, "ip"), Body: anyBytes.Draw(t, "body"),
			Header: rapid.MapOfN(anyText, rapid.SliceOfN(anyText, 1, 3), 0, 10).Draw(t, "header"),
		}
		require.NoError(t, in.CheckSize())
		_, payload, err := NewReader(bytes.NewReader(AppendFrame(nil, TypeInvoke, 7, in)), nil).Next()
		require.NoError(t, err)
		var out Invocation
		require.NoError(t, out.Decode(payload))
		require.NoError(t, out.Header.Check())
		require.NoError(t, out.Params.Check())
		header := map[string][]string{}
		for name, value := range out.Header.All() {
			header[string(name)] = append(header[string(name)], string(value))
		}
		require.Equal(t, in.Header, header)
		back := &Invoke{
			out.Slot, out.Timeout, string(out.Trigger), string(out.ID), string(out.Method), string(out.Path),
			string(out.RawPath), string(out.Base), string(out.Route), string(out.Query), string(out.ClientIP), "", header, out.Params, out.Body,
		}
		require.Equal(t, in, back)
	})
}

func TestInvokeHost(t *testing.T) {
	payload := AppendFrame(nil, TypeInvoke, 7, &Invoke{Host: "pi.local:8080"})[HeaderSize:]
	var out Invocation
	require.NoError(t, out.Decode(payload))
	host, ok := out.Header.Get("host")
	require.True(t, ok)
	require.Equal(t, "pi.local:8080", string(host))
}

// TestTruncation cuts every kind of payload at every byte, and adds one: no cut
// decodes.
func TestTruncation(t *testing.T) {
	pairs := Pairs{}.AppendPair("content-type", "text/plain")
	frames := map[Type]Payload{
		TypeConfig:    &Config{Version, "shop", 64 << 20, 256},
		TypeLoad:      &Load{Function: "hello", Version: 3, Source: []byte("1"), Timeout: time.Second},
		TypeInvoke:    &Invoke{Slot: 1, Path: "/", Header: map[string][]string{"A": {"b"}}, Body: []byte("x")},
		TypeHostReply: &HostReply{1, "kv_conflict", "no", []byte{1}},
		TypeHello:     &Hello{Version, []string{"rlimits"}, []Missing{{"landlock", "none"}}},
		TypeLoaded:    &Loaded{Handlers: []string{"handle"}},
		TypeResult:    &Result{200, pairs, []byte("hello")},
		TypeFailure:   &Failure{ReasonError, "boom", 1, 2, "boom()"},
		TypeHostCall:  &HostCall{1, "kv.get", []byte{0x80}},
		TypeLog:       &Log{time.UnixMicro(5), LevelWarn, "hi", nil},
	}
	require.Len(t, frames, len(decoders))
	for kind, p := range frames {
		payload := AppendFrame(nil, kind, 1, p)[HeaderSize:]
		require.NoError(t, decoders[kind]().Decode(payload), kind)
		for n := range payload {
			require.ErrorIs(t, decoders[kind]().Decode(payload[:n]), ErrMalformed, "%s cut at %d", kind, n)
		}
		require.ErrorIs(t, decoders[kind]().Decode(append(payload, 0)), ErrMalformed, kind)
	}
}

func TestTextsAreCut(t *testing.T) {
	long := string(bytes.Repeat([]byte("é"), MaxMessage))
	var f Failure
	require.NoError(t, f.Decode(AppendFrame(nil, TypeFailure, 1, &Failure{ReasonError, long, 1, 1, long})[HeaderSize:]))
	require.Equal(t, long[:MaxMessage], f.Message)
	require.Equal(t, long[:MaxExcerpt], f.Excerpt)
	require.Equal(t, "a", cut("aé", 2))
}

func TestCheckSize(t *testing.T) {
	require.NoError(t, (&Invoke{Path: "/"}).CheckSize())
	big := string(make([]byte, maxText))
	require.ErrorIs(t, (&Invoke{Path: big}).CheckSize(), ErrTooLong)
	for _, v := range []*Invoke{{RawPath: big}, {Base: big}, {Route: big}, {Params: Pairs{}.AppendPair("id", big)}} {
		require.ErrorIs(t, v.CheckSize(), ErrTooLong)
	}
	require.ErrorIs(t, (&Invoke{Header: map[string][]string{"a": {big}}}).CheckSize(), ErrTooLong)
	require.ErrorIs(t, (&Invoke{Header: map[string][]string{"a": make([]string, MaxPairs+1)}}).CheckSize(), ErrTooLong)
}

func TestPairs(t *testing.T) {
	p := Pairs(nil).AppendPair("Content-Type", "a").AppendPair("content-type", "b")
	require.NoError(t, p.Check())
	v, ok := p.Get("CONTENT-type")
	require.True(t, ok)
	require.Equal(t, "a", string(v))
	_, ok = p.Get("x")
	require.False(t, ok)
	var texts []string
	for name, value := range p.Strings() {
		texts = append(texts, name, value)
	}
	require.Equal(t, []string{"Content-Type", "a", "content-type", "b"}, texts)
	for n := 1; n < len(p); n++ {
		if n != len(p)/2 { // half of it is one whole pair
			require.ErrorIs(t, p[:n].Check(), ErrMalformed, n)
		}
	}
	var many Pairs
	for range MaxPairs + 1 {
		many = many.AppendPair("a", "b")
	}
	require.ErrorIs(t, many.Check(), ErrMalformed)
}

func TestValues(t *testing.T) {
	in := map[string]any{"n": int64(-3), "f": 1.5, "s": "é", "b": []byte{0, 255}, "l": []any{nil, true}, "m": map[string]any{}}
	b, err := Marshal(in)
	require.NoError(t, err)
	out, err := Unmarshal(b)
	require.NoError(t, err)
	require.Equal(t, in, out)

	out, err = Unmarshal(nil)
	require.NoError(t, err)
	require.Nil(t, out)
	for name, bad := range map[string][]byte{
		"deep":       bytes.Repeat([]byte{0x81}, 100),
		"huge array": {0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"huge text":  {0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"tag":        {0xc2, 0x41, 0x01},
		"indefinite": {0x9f, 0x01, 0xff},
		"not utf-8":  {0x61, 0xff},
		"int key":    {0xa1, 0x01, 0x01},
		"trailing":   {0x01, 0x01},
		"twice":      {0xa2, 0x61, 'a', 1, 0x61, 'a', 2},
	} {
		_, err := Unmarshal(bad)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
}
