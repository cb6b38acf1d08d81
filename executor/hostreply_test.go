package executor

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/budget"
	codec "github.com/picloud/picloud/internal/value"
)

// hungry is a host whose answers need memory.
type hungry struct {
	gated
	size int64
}

func (h *hungry) Call(ctx context.Context, c HostCall) ([]byte, error) {
	if err := c.Take(h.size); err != nil {
		return nil, err
	}
	if _, err := h.gated.Call(ctx, c); err != nil {
		return nil, err
	}
	return codec.AppendText(nil, "ok"), nil
}

// TestAnswersOfTheHostAreReserved: what the host makes for calls is reserved before it
// is made, and returned when the answer was sent.
func TestAnswersOfTheHostAreReserved(t *testing.T) {
	host := &hungry{gated{make(chan struct{})}, 12 << 20}
	e := launch(t, func(o *testOptions) { o.Host, o.Memory = host, budget.New(40<<20) })
	f := function(e, "shop", "f", nil)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if body, err := invoke(t, f, "/host/1"); err != nil || body != "1  ok" {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	eventually(t, "two wait with their memory", func() bool { return e.opts.Memory.Used() >= 2*(12<<20-hostFree) })
	require.Equal(t, "1 host_busy <nil>", must(t, f, "/host/1"))
	close(host.open)
	wg.Wait()
	eventually(t, "nothing is held", func() bool { return e.opts.Memory.Used() == 0 })
	host.size = 1
	require.Equal(t, "1  ok", must(t, f, "/host/1"))
}

// TestAnswersOfFunctionsAreReserved: an answer that does not fit is skipped, and the
// caller is told; the worker and its other calls go on.
func TestAnswersOfFunctionsAreReserved(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.Memory = budget.New(7 << 20) })
	f := function(e, "shop", "f", nil)
	pid := must(t, f, "/pid")
	kept, err := f.Invoke(t.Context(), &Call{Path: "/size/3000000"})
	require.NoError(t, err)
	require.Len(t, kept.Body, 3_000_000)
	require.GreaterOrEqual(t, e.opts.Memory.Used(), int64(3_000_000))
	_, err = invoke(t, f, "/size/4000000")
	require.Equal(t, picloud.CodeOverload, picloud.CodeOf(err), err)
	require.ErrorContains(t, err, "no room for its answer")
	require.Len(t, must(t, f, "/size/30000"), 30_000, "small answers go on")
	kept.Release()
	require.Len(t, must(t, f, "/size/4000000"), 4_000_000)
	require.Equal(t, pid, must(t, f, "/pid"))
	require.Zero(t, e.opts.Memory.Used())
}
