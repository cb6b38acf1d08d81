package picloud

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRolesIncludeThoseBelow(t *testing.T) {
	for i, high := range Roles {
		for j, low := range Roles {
			require.Equal(t, i >= j, high.Includes(low), "%s %s", high, low)
		}
		require.False(t, high.Includes("root"))
		require.False(t, Role("root").Includes(high))
	}
}
