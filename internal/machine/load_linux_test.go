package machine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoad(t *testing.T) {
	require.InDelta(t, 1.25, parseLoad([]byte("1.25 0.8 0.6 2/345 6789\n")), 0)
	require.Zero(t, parseLoad(nil))
	require.Equal(t, int64(2048), parseAvailable([]byte("MemTotal:  10 kB\nMemAvailable:       2 kB\n")))
	require.Zero(t, parseAvailable([]byte("MemTotal:  10 kB\n")))
	_, available := Load()
	require.Positive(t, available)
}
