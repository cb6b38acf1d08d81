package data

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/value"
)

// fromHost converts what wire.Unmarshal returns.
func fromHost(v any) object.Object {
	switch v := v.(type) {
	case bool:
		return object.NewBool(v)
	case int64:
		return object.NewInt(v)
	case float64:
		return object.NewFloat(v)
	case string:
		return object.NewString(v)
	case []byte:
		return object.NewBytes(v)
	case []any:
		items := make([]object.Object, len(v))
		for i, item := range v {
			items[i] = fromHost(item)
		}
		return object.NewList(items)
	case map[string]any:
		items := make(map[string]object.Object, len(v))
		for k, item := range v {
			items[k] = fromHost(item)
		}
		return object.NewMap(items)
	}
	return object.Nil
}

var answers = []any{
	nil, true, false, int64(0), int64(23), int64(24), int64(-1), int64(-500), int64(math.MaxInt64), int64(math.MinInt64),
	1.5, -0.25, 65504.0, 1e-7, 5.960464477539063e-08, math.Inf(1), math.Inf(-1), math.Pi, float64(float32(0.1)),
	"", "aé\U0001F600", strings.Repeat("x", 300),
	[]byte{},
	[]byte("\xff\x00"),
	[]any{},
	map[string]any{},
	[]any{[]any{int64(1), nil}, map[string]any{"k": []byte("v"), "": 2.5}},
}

func TestAnswers(t *testing.T) {
	for _, v := range answers {
		b, err := wire.Marshal(v)
		require.NoError(t, err)
		got, err := ReadCBOR(b)
		require.NoError(t, err)
		require.Equal(t, fromHost(v).Inspect(), got.Inspect())
		require.Equal(t, fromHost(v).Type(), got.Type())
		for i := range b { // a part of it is none
			if i > 0 {
				_, err := ReadCBOR(b[:i])
				require.Error(t, err)
			}
		}
	}
	for _, bad := range []string{"\x01\x01", "\x1f", "\xff", "\xa1\x01\x01", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", "\x1b\xff\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("\x81", 100) + "\x01", "\xc0\x01"} {
		_, err := ReadCBOR([]byte(bad))
		require.Error(t, err, "%q", bad)
	}
}

// FuzzCBOR reads any bytes without harm, and what the agent sends as it does.
func FuzzCBOR(f *testing.F) {
	for _, v := range answers {
		b, err := wire.Marshal(v)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ReadCBOR(b)
		want, err := wire.Unmarshal(b)
		if err != nil || !plain(want) {
			return
		}
		b, err = wire.Marshal(want)
		require.NoError(t, err)
		got, err := ReadCBOR(b)
		require.NoError(t, err, "%x", b)
		require.Equal(t, fromHost(want).Inspect(), got.Inspect())
	})
}

// plain reports whether a value is of the types that the agent sends.
func plain(v any) bool {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, []byte:
		return true
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !plain(item) })
	case map[string]any:
		for _, item := range v {
			if !plain(item) {
				return false
			}
		}
		return true
	}
	return false
}

// TestOneBoundOfLists: what the control API accepts for a key, a script can write.
func TestOneBoundOfLists(t *testing.T) {
	list := func(n int) *object.List {
		items := make([]object.Object, n)
		for i := range items {
			items[i] = object.Nil
		}
		return object.NewList(items)
	}
	for n, strict := range map[int]bool{60_000: false, value.MaxItems: false, value.MaxItems + 1: true} {
		w := CBORWriter{Limit: 1 << 20}
		w.Write(list(n))
		require.Equal(t, strict, w.Strict, n)
		_, err := value.Check(w.Buf)
		require.NoError(t, err)
	}
}
