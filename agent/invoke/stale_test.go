package invoke

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestMaxStaleIsTheOldestThatRuns: to the second, for the functions that set it, and for
// none while the node is in touch.
func TestMaxStaleIsTheOldestThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := New(Options{})
		function := func(limit time.Duration) *Function {
			return &Function{Route: picloud.Route{App: "a", Function: "f"}, Limits: picloud.Limits{MaxStale: picloud.Duration(limit)}, invoker: i}
		}
		any, strict := function(0), function(5*time.Minute)
		for _, f := range []*Function{any, strict} {
			s, err := f.Staleness()
			require.NoError(t, err)
			require.Nil(t, s)
		}
		i.SetStale(time.Now().Add(-2 * time.Minute))
		s, err := strict.Staleness()
		require.NoError(t, err)
		require.Equal(t, 2*time.Minute, s.Age())
		<-time.After(3*time.Minute + 999*time.Millisecond)
		_, err = strict.Staleness()
		require.NoError(t, err)
		<-time.After(time.Millisecond)
		s, err = strict.Staleness()
		require.Equal(t, 5*time.Minute+time.Second, s.Age())
		require.Equal(t, picloud.CodeStale, picloud.CodeOf(err))
		require.ErrorIs(t, err, picloud.ErrUnavailable)
		require.ErrorContains(t, err, "for 5m1s, and the function's max_stale is 5m0s")
		_, err = any.Staleness()
		require.NoError(t, err, "however old")
		i.SetStale(time.Time{})
		s, err = strict.Staleness()
		require.NoError(t, err)
		require.Nil(t, s)
	})
}

// TestAHealthyNodePaysOneLoad: no allocation.
func TestAHealthyNodePaysOneLoad(t *testing.T) {
	f := &Function{Limits: picloud.Limits{MaxStale: picloud.Duration(time.Minute)}, invoker: New(Options{})}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if s, err := f.Staleness(); s != nil || err != nil {
			t.Fatal(s, err)
		}
	}))
}
