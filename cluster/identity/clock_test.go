package identity

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClockIn1970(t *testing.T) {
	in1970 := func() time.Time { return time.Unix(100, 0) }
	path := filepath.Join(t.TempDir(), "clock")
	c := NewClock(ClockOptions{Path: path, Wall: in1970})
	require.WithinDuration(t, builtAt(), c.Now(), time.Minute, "nothing was written down: the time of the build")
	require.Greater(t, c.Behind(), 50*365*24*time.Hour)

	kept := time.Date(2031, time.May, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, os.WriteFile(path, []byte(kept.Format(time.RFC3339)), 0o600))
	c = NewClock(ClockOptions{Path: path, Wall: in1970})
	require.WithinDuration(t, kept, c.Now(), time.Minute)
	require.True(t, c.Now().After(kept), "time goes on though the machine's clock stands")

	for _, text := range []string{"", "yesterday", "\x00\x00", "1980-01-01T00:00:00Z"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.WithinDuration(t, builtAt(), NewClock(ClockOptions{Path: path, Wall: in1970}).Now(), time.Minute, text)
	}
}

func TestASynchronizedClockCountsAlone(t *testing.T) {
	right := time.Date(2031, time.May, 1, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "clock")
	require.NoError(t, os.WriteFile(path, []byte("2099-01-01T00:00:00Z"), 0o600))
	options := ClockOptions{Path: path, Wall: func() time.Time { return right }, Synced: func() bool { return true }}
	require.Equal(t, right, NewClock(options).Now())
	options.Wall = func() time.Time { return time.Unix(0, 0) }
	require.Equal(t, builtAt(), NewClock(options).Now(), "but not when it says that it is before this build")
}

func TestClockWritesTheTimeDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "clock")
		start := time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC)
		began, synced := time.Now(), false
		options := ClockOptions{Path: path, Wall: func() time.Time { return start.Add(time.Since(began)) }, Synced: func() bool { return synced }}
		c := NewClock(options)
		c.Start(t.Context())
		kept := func() string {
			synctest.Wait()
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			return string(raw)
		}
		require.Equal(t, "2030-01-01T00:00:00Z", kept())
		<-time.After(time.Hour)
		require.Equal(t, "2030-01-01T01:00:00Z", kept())
		<-time.After(time.Minute)
		c.Stop()
		require.Equal(t, "2030-01-01T01:01:00Z", kept(), "and at the end")
		require.Equal(t, 0*time.Second, c.Behind())
	})
}

func TestAClockWithoutAFolderRunsOn(t *testing.T) {
	c := NewClock(ClockOptions{Path: filepath.Join(t.TempDir(), "no", "clock")})
	c.Start(t.Context())
	c.Stop()
	require.False(t, c.Now().Before(released))
	(&Clock{}).Stop()
	kernelSynced()
}
