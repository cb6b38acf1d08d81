package module

import (
	"testing"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"
	"github.com/stretchr/testify/require"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1h30m": 90 * time.Minute, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "1w1d1h": 193 * time.Hour, "-1d": -24 * time.Hour, "250ms": time.Second / 4, "1.5h": 90 * time.Minute, "0": 0,
	} {
		got, ok := parseDuration(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "-", "d", "1", "1d2w", "1.5d", "1d-2h", "--1h", "1d+1h", "99999999999d", "4294967295w", "1d1d", "1y", "1000000d300000h"} {
		d, ok := durationOf(object.NewString(text))
		require.False(t, ok, "%s: %s", text, d)
	}
}
