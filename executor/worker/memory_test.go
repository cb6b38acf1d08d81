package worker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCollectorLimit: near the limit the collector has headroom, so that a script which
// takes more and more gets to the limit and not to its deadline.
func TestCollectorLimit(t *testing.T) {
	require.EqualValues(t, 64, collectorLimit(48, 64))
	require.EqualValues(t, 64+headroom, collectorLimit(49, 64), "scripts hold much")
}
