package budget

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheBudgetHoldsUnderLoad(t *testing.T) {
	b := New(100)
	var wg sync.WaitGroup
	var most atomic.Int64
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				if b.Take(7) {
					if held := most.Add(7); held > 100 {
						t.Error("more is taken than there is")
					}
					most.Add(-7)
					b.Give(7)
				}
			}
		})
	}
	wg.Wait()
	require.Zero(t, b.Used())
	require.Equal(t, int64(100), b.Limit())
	require.True(t, b.Take(100))
	require.False(t, b.Take(1), "all of it is taken")
	b.Give(100)
	require.True(t, b.Take(1))
}
