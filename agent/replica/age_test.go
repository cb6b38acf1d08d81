package replica

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// lived is one life of a node's copy: what it was told of its age, by a clock that may be
// wrong.
type lived struct {
	age
	since atomic.Pointer[time.Time]
	off   atomic.Int64 // of the wall clock, a time.Duration
}

// live begins a life. Off is by how much the wall clock is ahead.
func live(dir string, off time.Duration, signs ...string) *lived {
	l := &lived{}
	l.off.Store(int64(off))
	l.told = func(since time.Time) {
		l.since.Store(&since)
	}
	l.wall = func() time.Time { return time.Now().Add(time.Duration(l.off.Load())) }
	l.open(dir, signs, slog.New(slog.DiscardHandler))
	return l
}

// stale reports whether the copy counts as stale.
func (l *lived) stale() bool {
	since := l.since.Load()
	return since != nil && !since.IsZero()
}

// inBubble runs f with a fake clock that is past the first day of PiCloud.
func inBubble(t *testing.T, f func(t *testing.T, dir string)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		<-time.After(27 * 366 * 24 * time.Hour) // a bubble begins in the year 2000
		f(t, dir)
	})
}

func written(t *testing.T, dir string) time.Time {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, comparedFile))
	if os.IsNotExist(err) {
		return time.Time{}
	}
	require.NoError(t, err)
	return info.ModTime()
}

// TestACopyBecomesStaleAfterTwoComparisonsWereMissed, and is current with the next one.
func TestACopyBecomesStaleAfterTwoComparisonsWereMissed(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		l := live(dir, 0)
		defer l.close()
		for range 100 {
			l.compared()
			<-time.After(pollInterval + pullTimeout)
			require.False(t, l.stale())
		}
		require.Zero(t, written(t, dir), "a node in touch writes nothing")
		<-time.After(CutOff - pollInterval - pullTimeout + time.Millisecond)
		require.True(t, l.stale())
		require.Equal(t, CutOff+time.Millisecond, l.of())
		first := written(t, dir)
		<-time.After(24 * time.Hour)
		require.Equal(t, first, written(t, dir), "written once for each time that it is cut off")
		require.Equal(t, 24*time.Hour+CutOff+time.Millisecond, l.of())
		require.Equal(t, l.of(), time.Since(*l.since.Load()), "calls get the same age")
		l.compared()
		require.False(t, l.stale())
		require.Zero(t, l.of())
	})
}

// TestTheAgeGoesOnOverRestarts, of all kinds.
func TestTheAgeGoesOnOverRestarts(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		l := live(dir, 0)
		l.compared()
		<-time.After(10 * time.Second)
		l.close()
		<-time.After(50 * time.Second)
		l = live(dir, 0)
		require.Equal(t, time.Minute, l.of(), "a stop")
		require.False(t, l.stale())
		<-time.After(time.Minute + time.Millisecond)
		require.True(t, l.stale(), "the time before the restart counts")

		<-time.After(time.Hour) // power cut: nothing is closed
		l.timer.Stop()
		<-time.After(time.Hour)
		l = live(dir, 0)
		require.True(t, l.stale(), "at once")
		require.InDelta(t, 2*time.Hour+2*time.Minute, l.of(), float64(2*time.Second))

		l.compared()
		l.close()
		<-time.After(time.Minute)
		l = live(dir, 0)
		require.InDelta(t, time.Minute, l.of(), float64(time.Second), "the outage is over, also on disk")
		l.close()
	})
}

// TestAPowerCutOfANodeInTouch takes the last sign of life for the last comparison.
func TestAPowerCutOfANodeInTouch(t *testing.T) {
	inBubble(t, func(t *testing.T, dir string) {
		sign := filepath.Join(dir, "clock")
		l := live(dir, 0, sign)
		l.compared()
		l.close()
		<-time.After(30 * 24 * time.Hour)
		l = live(dir, 0, sign)
		l.compared()
		require.NoError(t, os.WriteFile(sign, nil, 0o600))
		require.NoError(t, os.Chtimes(sign, time.Now(), time.Now()))
		l.timer.Stop()
		<-time.After(10 * time.Minute)
		l = live(dir, 0, sign, filepath.Join(dir, "none"))
		require.Equal(t, 10*time.Minute, l.of())
		require.True(t, l.stale())
		l.timer.Stop()

		// A node that was cut off writes the sign, too.
		require.NoError(t, os.Chtimes(sign, time.Now(), time.Now()))
		<-time.After(time.Minute)
		l = live(dir, 0, sign)
		require.InDelta(t, 11*time.Minute, l.of(), float64(time.Second))
		l.close()
	})
}

// TestAWrongClockMakesNoNonsense: the age is never negative, and never that of another
// century; it is right when the clock is.
func TestAWrongClockMakesNoNonsense(t *testing.T) {
	const years = 365 * 24 * time.Hour
	inBubble(t, func(t *testing.T, dir string) {
		l := live(dir, 0)
		l.compared()
		l.close()
		<-time.After(time.Hour)
		for off, want := range map[time.Duration]time.Duration{-55 * years: 0, -2 * time.Hour: 0, 70 * years: oldest, 0: time.Hour} {
			l := live(dir, off)
			require.InDelta(t, want, l.of(), float64(2*time.Second), "%s", off)
			l.timer.Stop() // and no word of it to the disk
			require.NoError(t, os.WriteFile(l.path, []byte(`{"at":"`+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)+`"}`), 0o600))
		}
		l = live(dir, -55*years)
		<-time.After(time.Minute)
		require.Equal(t, time.Minute, l.of(), "at least the time since the start")
		require.False(t, l.stale())
		<-time.After(90 * time.Second)
		require.True(t, l.stale())
		again := live(dir, 0) // after a power cut, with NTP
		require.InDelta(t, time.Hour+150*time.Second, again.of(), float64(2*time.Second), "the wrong clock has not got to the disk")
		again.timer.Stop()
		l.off.Store(0) // NTP
		<-time.After(pollInterval)
		require.InDelta(t, time.Hour+3*time.Minute+30*time.Second, time.Since(*l.since.Load()), float64(2*time.Second), "the next look finds it")
		l.compared()
		l.off.Store(int64(-55 * years))
		<-time.After(time.Minute)
		require.Equal(t, time.Minute, l.of(), "after a comparison no wall clock counts")
		l.close()

		require.NoError(t, os.WriteFile(l.path, []byte(`{"at":"1970-01-01T00:05:00Z","cut":true}`), 0o600))
		l = live(dir, 0)
		require.Zero(t, l.of(), "a record of a wrong clock is none")
		l.timer.Stop()
		for _, torn := range []string{"", "{", `{"at":7}`, "\x00"} {
			require.NoError(t, os.WriteFile(l.path, []byte(torn), 0o600))
			l = live(dir, 0)
			require.Zero(t, l.of())
			l.timer.Stop()
		}
	})
}
