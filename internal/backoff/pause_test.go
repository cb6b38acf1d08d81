package backoff

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPauseEndsInTimeOrWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		require.True(t, Pause(t.Context(), time.Second))
		require.Equal(t, time.Second, time.Since(begun))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.False(t, Pause(ctx, time.Minute))
		require.Equal(t, 2*time.Second, time.Since(begun))
		require.False(t, Pause(ctx, 0), "it has ended already")
	})
}
