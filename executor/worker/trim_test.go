package worker

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTrimmer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var freed atomic.Int32
		tr := &trimmer{free: func() { freed.Add(1) }}
		wait := func(d time.Duration) {
			time.Sleep(d) // of the bubble
			synctest.Wait()
		}
		wait(time.Hour)
		require.Zero(t, freed.Load())

		for range 50 { // busy for five seconds
			tr.active()
			wait(100 * time.Millisecond)
		}
		require.Zero(t, freed.Load())
		wait(3 * trimAfter)
		require.EqualValues(t, 1, freed.Load())
		wait(time.Hour) // idle: nothing more happens
		require.EqualValues(t, 1, freed.Load())

		tr.active()
		wait(3 * trimAfter)
		require.EqualValues(t, 2, freed.Load())

		tr.active()
		tr.stop()
		wait(time.Hour)
		tr.active()
		wait(time.Hour)
		require.EqualValues(t, 2, freed.Load())
	})
}
