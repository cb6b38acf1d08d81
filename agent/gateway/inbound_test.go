package gateway

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud/internal/budget"
)

func TestInboundReadsWhatCame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 300<<10).Draw(t, "size")
		limit := rapid.Int64Range(1, 300<<10).Draw(t, "limit")
		room := rapid.Int64Range(0, 1<<20).Draw(t, "room")
		declared := rapid.SampledFrom([]int64{-1, int64(size)}).Draw(t, "declared")
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		var src io.Reader = bytes.NewReader(body)
		if rapid.Bool().Draw(t, "with end") {
			src = iotest.DataErrReader(src) // as net/http does when it knows the length
		}
		memory := budget.New(room)
		in := inbounds.Get().(*inbound)
		err := in.read(src, declared, limit, memory)
		require.LessOrEqual(t, memory.Used(), room)
		switch {
		case errors.Is(err, errBodyNoRoom):
			require.Greater(t, int64(4*size), room, "a quarter of the memory always fits")
		case int64(size) > limit:
			require.ErrorIs(t, err, errBodyTooLarge)
		default:
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, in.Bytes()), "the body as it was sent")
		}
		in.release(memory)
		require.Zero(t, memory.Used(), "all is given back")
	})
}

// TestAnnouncedBodiesCostNothing: a header is 200 bytes, the body that it
// announces may never come.
func TestAnnouncedBodiesCostNothing(t *testing.T) {
	in := new(inbound)
	memory := budget.New(1 << 30)
	err := in.read(iotest.ErrReader(io.ErrUnexpectedEOF), 8<<20, 8<<20, memory)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, in.Cap(), 16<<10)
	in.release(memory)
}
