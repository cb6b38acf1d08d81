package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTrimmer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freed := 0
		tr := &trimmer{free: func() { freed++ }}
		wait := func(d time.Duration) {
			time.Sleep(d) // of the bubble
			synctest.Wait()
		}
		wait(time.Hour)
		require.Zero(t, freed)

		for range 50 { // busy for five seconds
			tr.active()
			wait(100 * time.Millisecond)
		}
		require.Zero(t, freed)
		wait(3 * trimAfter)
		require.Equal(t, 1, freed)
		wait(time.Hour) // idle: nothing more happens
		require.Equal(t, 1, freed)

		tr.active()
		wait(3 * trimAfter)
		require.Equal(t, 2, freed)

		tr.active()
		tr.stop()
		wait(time.Hour)
		tr.active()
		wait(time.Hour)
		require.Equal(t, 2, freed)
	})
}
