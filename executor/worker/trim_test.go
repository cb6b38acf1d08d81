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
		var freed, woken atomic.Int32
		tr := &trimmer{free: func() { freed.Add(1) }, wake: func() { woken.Add(1) }}
		wait := func(d time.Duration) {
			<-time.After(d) // of the bubble
			synctest.Wait()
		}
		wait(time.Hour)
		require.Zero(t, freed.Load())

		for range 50 { // busy for five seconds
			tr.active()
			wait(100 * time.Millisecond)
		}
		require.Zero(t, freed.Load())
		require.EqualValues(t, 50, woken.Load(), "between calls the monitor may sleep")
		wait(3 * trimAfter)
		require.EqualValues(t, 1, freed.Load())
		wait(time.Hour) // idle: nothing more happens
		require.EqualValues(t, 1, freed.Load())

		tr.active()
		wait(3 * trimAfter)
		require.EqualValues(t, 2, freed.Load())

		woken.Store(0)
		for range 5000 {
			tr.active()
			wait(tick / 4)
		}
		require.EqualValues(t, 1, woken.Load(), "where calls come often it is awake")
		wait(3 * trimAfter)

		freed.Store(2)
		tr.active()
		tr.stop()
		wait(time.Hour)
		tr.active()
		wait(time.Hour)
		require.EqualValues(t, 2, freed.Load())
	})
}

// TestMonitorAwake runs a quick call beside a native function that spins.
func TestMonitorAwake(t *testing.T) {
	a := realProcess(t, 64<<20).greet(64 << 20)
	quick := a.load(hello)
	spin := a.load(`function handle(req) { let a = [1]; let b = [1]; range(40).each(i => { a = [a, a]; b = [b, b] }); log.info("on"); return a == b }`)
	require.NotEmpty(t, a.result(a.invoke(quick)))
	for range 2 {
		<-time.After(60 * time.Millisecond) // the monitor goes to sleep
		require.Equal(t, "info on", a.log(a.invoke(spin)))
		begun := time.Now()
		require.NotEmpty(t, a.result(a.invoke(quick)))
		require.Less(t, time.Since(begun), 500*time.Millisecond)
	}
}
