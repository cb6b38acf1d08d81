package executor

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestStopWithCallsInFlight(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.DrainTimeout = 400 * time.Millisecond })
	f := function(e, "shop", "f", nil)
	must(t, f, "/pid")
	var short, long error
	var wg sync.WaitGroup
	wg.Go(func() { _, short = invoke(t, f, "/slow/200") })
	wg.Go(func() { _, long = invoke(t, f, "/slow/60000") })
	eventually(t, "both run", func() bool { return e.live("shop").busy.Load() == 2 })
	stopped := make(chan struct{})
	go func() { e.Stop(); close(stopped) }()
	eventually(t, "draining", func() bool { return state(e.state.Load()) == stateDraining })
	_, err := invoke(t, f, "/echo")
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(err))
	<-stopped
	wg.Wait()
	require.NoError(t, short)
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(long), long)
	require.Empty(t, children(t))
	_, err = e.Compile(context.Background(), nil, "f")
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(err))
	e.Stop()
}

// TestStopWaitsNoLonger stops as soon as the last call has ended.
func TestStopWaitsNoLonger(t *testing.T) {
	e := launch(t, func(o *testOptions) { o.DrainTimeout = time.Hour })
	f := function(e, "shop", "f", nil)
	must(t, f, "/pid")
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			if _, err := invoke(t, f, fmt.Sprintf("/slow/%d", 500+20*n)); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all run", func() bool { return e.calls.Load() == 8 })
	e.Stop()
	wg.Wait()
}

func TestStopUnstarted(t *testing.T) {
	e, err := New(Options{WorkerPath: self(t), MemoryCap: 1 << 30})
	require.NoError(t, err)
	_, err = invoke(t, function(e, "shop", "f", nil), "/echo")
	require.Equal(t, picloud.CodeStarting, picloud.CodeOf(err))
	e.Stop()
	require.Error(t, e.Start(context.Background()))
}
