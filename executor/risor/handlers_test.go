package risor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/executor/trigger"
)

// TestEveryTriggerHasAHandler: a trigger whose handler no script can define would
// accept events and never run one.
func TestEveryTriggerHasAHandler(t *testing.T) {
	used := map[string]bool{}
	for name, handler := range trigger.Handlers {
		_, ok := handlerNamed(handler)
		require.True(t, ok, name)
		used[handler] = true
	}
	for _, h := range Handlers {
		require.True(t, used[h.Name], "nothing calls %s", h.Name)
	}
}
