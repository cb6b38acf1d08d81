package output

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimesAreRead(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	p := &Printer{Now: func() time.Time { return now }}
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 900 * time.Millisecond: "now", 59 * time.Second: "59s ago", 61 * time.Minute: "1h ago",
		90 * time.Second: "1m ago", 47 * time.Hour: "47h ago", 72 * time.Hour: "3d ago",
	} {
		require.Equal(t, want, p.Ago(now.Add(-d)))
	}
	require.Equal(t, "-", p.Ago(time.Time{}))
	require.Equal(t, "less than 1 ms", Took(time.Microsecond))
	require.Equal(t, "38 ms", Took(38*time.Millisecond+999*time.Microsecond))
	require.Equal(t, "1.5 s", Took(1500*time.Millisecond))
}
