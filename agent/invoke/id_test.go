package invoke

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCallIDsAreUniqueAcrossProcesses(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		ids := newIDs()
		for range 2000 {
			id := ids.id()
			require.Len(t, id, 18)
			require.False(t, seen[id])
			seen[id] = true
		}
	}
}
