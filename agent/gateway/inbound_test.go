package gateway

import (
	"bytes"
	"errors"
	"io"
	"sync"
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
		way := New(Options{Bodies: memory}).newTransit("shop")
		way.patience = 0
		err := in.read(nil, src, declared, limit, &way)
		require.LessOrEqual(t, memory.Used(), room)
		switch {
		case errors.Is(err, errBodyNoRoom):
			require.Greater(t, int64(4*size), room, "a quarter of the memory always fits")
		case int64(size) > limit:
			require.ErrorIs(t, err, errBodyTooLarge)
		default:
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, in.body), "the body as it was sent")
		}
		in.release(&way)
		require.Zero(t, memory.Used(), "all is given back")
	})
}

// TestAnnouncedBodiesCostNothing: a header is 200 bytes, the body that it
// announces may never come.
func TestAnnouncedBodiesCostNothing(t *testing.T) {
	in := new(inbound)
	memory := budget.New(1 << 30)
	way := New(Options{Bodies: memory}).newTransit("shop")
	err := in.read(nil, iotest.ErrReader(io.ErrUnexpectedEOF), 8<<20, 8<<20, &way)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, cap(in.body), 16<<10)
	in.release(&way)
}

// TestLargeBodiesWaitForTheirTurn: more than fit at once, and none is refused.
func TestLargeBodiesWaitForTheirTurn(t *testing.T) {
	memory := budget.New(20 << 20)
	way := New(Options{Bodies: memory}).newTransit("shop")
	body := bytes.Repeat([]byte("x"), 8<<20)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			in := new(inbound)
			if err := in.read(nil, iotest.HalfReader(bytes.NewReader(body)), int64(len(body)), 8<<20, &way); err != nil || len(in.body) != len(body) {
				t.Error(len(in.body), err)
			}
			in.release(&way)
		})
	}
	wg.Wait()
	require.Zero(t, memory.Used())
}
