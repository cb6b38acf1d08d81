package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// items counts what Unmarshal returned.
func items(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			n += items(item)
		}
	case map[string]any:
		for _, item := range v {
			n += 1 + items(item)
		}
	}
	return n
}

func TestCountItems(t *testing.T) {
	for _, v := range []any{
		nil, true, 1.5, int64(-70_000), "text", []byte("bytes"), bytes.Repeat([]byte{1}, 70_000),
		[]any{},
		map[string]any{},
		[]any{1, "a", []any{nil, []byte{2}}, map[string]any{"k": []any{1, 2, 3}, "l": 1e300}},
	} {
		b, err := Marshal(v)
		require.NoError(t, err)
		require.Equal(t, items(v), CountItems(b), "%v", v)
		for i := range b {
			CountItems(b[:i])
		}
	}
	require.Equal(t, 1<<20, CountItems(make([]byte, 1<<20)), "small numbers")
}

// FuzzCountItems compares the count with what is decoded.
func FuzzCountItems(f *testing.F) {
	f.Add([]byte{0x82, 0x01, 0xa1, 0x61, 'k', 0xf6})
	f.Add([]byte{0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := CountItems(b)
		if v, err := Unmarshal(b); err == nil && len(b) > 0 && n != items(v) {
			t.Fatalf("counted %d items of %d in %x", n, items(v), b)
		}
	})
}
