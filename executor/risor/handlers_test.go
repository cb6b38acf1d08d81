package risor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestEveryTriggerHasAHandler: a trigger whose handler no script can define would
// accept events and never run one.
func TestEveryTriggerHasAHandler(t *testing.T) {
	used := map[string]bool{}
	for _, trigger := range picloud.Triggers {
		_, ok := handlerNamed(trigger.Handler)
		require.True(t, ok, trigger.Handler)
		used[trigger.Handler] = true
	}
	for _, h := range Handlers {
		require.True(t, used[h.Name], "nothing calls %s", h.Name)
	}
}
