package backoff

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPausesDoubleUpToTheLast(t *testing.T) {
	b := New(100*time.Millisecond, time.Second)
	for _, ms := range []int{100, 200, 400, 800, 1000, 1000} {
		interval := time.Duration(ms) * time.Millisecond
		require.InDelta(t, interval, b.NextBackOff(), float64(interval/2+time.Millisecond))
	}
	b.Reset()
	require.LessOrEqual(t, b.NextBackOff(), 151*time.Millisecond, "after a success it begins anew")
}
