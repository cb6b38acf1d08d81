package value

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// oracle are a decoder with the bounds of this package and an encoder that sorts.
var oracle = func() (dec cbor.DecMode, enc cbor.EncMode) {
	dec, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: MaxDepth, MaxArrayElements: MaxItems, MaxMapPairs: MaxPairs,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, IntDec: cbor.IntDecConvertSignedOrFail,
		DefaultMapType: reflect.TypeFor[map[string]any](), UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	enc, err = cbor.EncOptions{Sort: cbor.SortCoreDeterministic, ShortestFloat: cbor.ShortestFloat16, TagsMd: cbor.TagsForbidden}.EncMode()
	if err != nil {
		panic(err)
	}
	return dec, enc
}

// shape counts what the oracle decoded.
func shape(v any) Shape {
	s := Shape{Items: 1}
	inner := func(v any, keys int) {
		in := shape(v)
		s.Items += in.Items + keys
		s.Depth = max(s.Depth, in.Depth+1)
	}
	switch v := v.(type) {
	case []any:
		s.Depth = 1
		for _, item := range v {
			inner(item, 0)
		}
	case map[string]any:
		s.Depth = 1
		for _, item := range v {
			inner(item, 1)
		}
	}
	return s
}

// foreign reports whether the oracle accepts a value that no script has: a simple value.
func foreign(v any) bool {
	switch v := v.(type) {
	case cbor.SimpleValue:
		return true
	case []any:
		if slices.ContainsFunc(v, foreign) {
			return true
		}
	case map[string]any:
		for _, item := range v {
			if foreign(item) {
				return true
			}
		}
	}
	return false
}

// rebuild writes an item anew through the typed access.
func rebuild(dst []byte, i Item) []byte {
	if n, ok := i.Int(); ok {
		return AppendInt(dst, n)
	}
	if f, ok := i.Float(); ok {
		return AppendFloat(dst, f)
	}
	if s, ok := i.Text(); ok {
		return AppendText(dst, s)
	}
	if b, ok := i.Bytes(); ok {
		return AppendBytes(dst, b)
	}
	if b, ok := i.Bool(); ok {
		return AppendBool(dst, b)
	}
	if n, items, ok := i.List(); ok {
		dst = AppendList(dst, n)
		for item := range items {
			dst = rebuild(dst, item)
		}
		return dst
	}
	if n, pairs, ok := i.Map(); ok {
		dst = AppendMap(dst, n)
		for key, item := range pairs {
			dst = rebuild(AppendText(dst, key), item)
		}
		return dst
	}
	return AppendNull(dst)
}

var samples = []any{
	nil, true, false, int64(0), int64(23), int64(24), int64(-1), int64(-500), int64(70_000), int64(math.MaxInt64), int64(math.MinInt64),
	0.0, math.Copysign(0, -1), 1.5, -0.25, 65504.0, 65505.0, 1e-7, 5.960464477539063e-08, 2.98e-8, 6.1e-5, 1e300, math.Inf(1), math.Inf(-1), math.NaN(), math.Pi, float64(float32(0.1)),
	"", "aé\U0001F600", strings.Repeat("x", 300),
	[]byte{},
	[]byte("\xff\x00"), bytes.Repeat([]byte{1}, 70_000),
	[]any{},
	map[string]any{},
	[]any{[]any{int64(1), nil}, map[string]any{"k": []byte("v"), "": 2.5, "bb": int64(1), "c": false}},
}

func TestValues(t *testing.T) {
	dec, enc := oracle()
	for _, v := range samples {
		b, err := enc.Marshal(v)
		require.NoError(t, err)
		got, err := Check(b)
		require.NoError(t, err, "%v", v)
		require.Equal(t, shape(v), got, "%v", v)
		require.Equal(t, b, rebuild(nil, b), "%v", v)
		for i := range b {
			_, err := Check(b[:i])
			require.ErrorIs(t, err, ErrMalformed)
			rebuild(nil, b[:i])
		}
		_, err = Check(append(b, 0))
		require.ErrorIs(t, err, ErrMalformed)
		require.Zero(t, testing.AllocsPerRun(1, func() { _, _ = Check(b) }))
	}
	_ = dec
}

func TestBounds(t *testing.T) {
	deep := func(n int) []byte { return append(bytes.Repeat([]byte{0x81}, n), 0) }
	long := func(n int) []byte { return append(AppendList(nil, n), make([]byte, n)...) }
	wide := func(n int) []byte {
		b := AppendMap(nil, n)
		for i := range n {
			b = append(AppendText(b, string(rune('a'+i/26/26/26%26))+string(rune('a'+i/26/26%26))+string(rune('a'+i/26%26))+string(rune('a'+i%26))), 0)
		}
		return b
	}
	for _, good := range [][]byte{deep(MaxDepth), long(MaxItems), wide(MaxPairs)} {
		_, err := Check(good)
		require.NoError(t, err)
	}
	_, _, s, err := Cut(deep(MaxDepth-1), 1)
	require.NoError(t, err)
	require.Equal(t, Shape{MaxDepth, MaxDepth - 1}, s)
	_, _, _, err = Cut(deep(MaxDepth), 1)
	require.ErrorIs(t, err, errDepth)
	for want, bad := range map[error][]byte{
		errDepth: deep(MaxDepth + 1), errLength: long(MaxItems + 1),
		errOrder: []byte("\xa2\x61a\x01\x61a\x02"), errKey: []byte("\xa1\x01\x01"), errText: []byte("\x61\xff"),
		errInteger: []byte("\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), errCategory: []byte("\xc0\x01"), errCut: []byte("\x9a\x00\x00\xff\xff"),
	} {
		_, err := Check(bad)
		require.ErrorIs(t, err, want)
	}
	for _, bad := range []string{"\xa2\x62aa\x01\x61b\x02", "\xf7", "\xe0", "\xf8\x20", "\x9f\xff", "\x5f\xff", "\xa1\xf6\x01", "\xa1\x41a\x01", "\x1c"} {
		_, err := Check([]byte(bad))
		require.ErrorIs(t, err, ErrMalformed, "%x", bad)
	}
	_, err = Check(wide(MaxPairs + 1))
	require.ErrorIs(t, err, errLength)
}

// FuzzCheck compares the walk with a decoder. What Check accepts, the decoder accepts
// as the same value. What the decoder accepts, Check accepts once its maps are in
// order, unless it has something that no script has: a simple value.
func FuzzCheck(f *testing.F) {
	dec, enc := oracle()
	for _, v := range samples {
		b, err := enc.Marshal(v)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte("\xa2\x62aa\x01\x61b\x02"))
	f.Add([]byte{0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		rebuild(nil, b)
		got, err := Check(b)
		var v any
		if known := dec.Unmarshal(b, &v); known != nil {
			require.Error(t, err, "the decoder refuses %x: %v", b, known)
			return
		}
		if err == nil {
			require.Equal(t, shape(v), got, "%x", b)
			want, err := enc.Marshal(v)
			require.NoError(t, err)
			require.Equal(t, want, rebuild(nil, b), "%x", b)
			return
		}
		sorted, encErr := enc.Marshal(v)
		require.NoError(t, encErr)
		if !foreign(v) {
			_, err := Check(sorted)
			require.NoError(t, err, "%x", sorted)
		}
	})
}
