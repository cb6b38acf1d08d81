package keys_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/postgres/keys"
)

func TestIntegersAreCBOR(t *testing.T) {
	for _, n := range []int64{
		0, 1, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64,
		-1, -24, -25, -256, -257, -65536, -65537, -math.MaxUint32 - 1, -math.MaxUint32 - 2, math.MinInt64,
	} {
		want, err := cbor.Marshal(n)
		require.NoError(t, err)
		require.Equal(t, want, keys.AppendInteger(nil, n), "%d", n)
		got, ok := keys.ReadInteger(want)
		require.True(t, ok)
		require.Equal(t, n, got)
	}
	for _, v := range []any{nil, true, 1.5, "1", []byte{1}, []int{1}, map[string]int{}, uint64(math.MaxInt64 + 1)} {
		b, err := cbor.Marshal(v)
		require.NoError(t, err)
		_, ok := keys.ReadInteger(b)
		require.False(t, ok, "%v", v)
	}
}

// A CBOR library reads an integer exactly where readInteger does.
func FuzzReadInteger(f *testing.F) {
	for _, seed := range [][]byte{{}, {0}, {0x17}, {0x18}, {0x18, 5}, {0x18, 24}, {0x19, 1, 0}, {0x1a, 0, 1, 0, 0}, {0x1c}, {0x1f}, {0x20}, {0x38, 255}, {0x3b, 255, 255, 255, 255, 255, 255, 255, 255}, {0x1b, 127, 255, 255, 255, 255, 255, 255, 255}, {0, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := keys.ReadInteger(b)
		var want int64
		isInteger := len(b) > 0 && b[0] < 0x40 && cbor.Unmarshal(b, &want) == nil
		require.Equal(t, isInteger, ok, "%x", b)
		if ok {
			require.Equal(t, want, got)
			again := keys.AppendInteger(nil, got)
			require.LessOrEqual(t, len(again), len(b))
			if len(again) == len(b) {
				require.True(t, bytes.Equal(again, b))
			}
		}
	})
}
