package picloud

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatch(t *testing.T) {
	var zero Match
	require.Equal(t, MatchAny, zero)
	for _, tt := range []struct {
		match                 Match
		nothing, one, another bool
	}{
		{MatchAny, true, true, true},
		{MatchNone, true, false, false},
		{MatchVersion(1), false, true, false},
		{MatchVersion(0), false, false, false},
		{MatchVersion(-1), false, false, false},
	} {
		require.Equal(t, tt.nothing, tt.match.Accepts(0), "%d", tt.match)
		require.Equal(t, tt.one, tt.match.Accepts(1), "%d", tt.match)
		require.Equal(t, tt.another, tt.match.Accepts(2), "%d", tt.match)
	}
}
