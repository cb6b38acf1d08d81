package manager

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSettleWaitsForTheNodes says nothing: the change stands whoever serves it.
func TestSettleWaitsForTheNodes(t *testing.T) {
	w := &world{}
	w.manager(t).Settle(t.Context())
	require.Equal(t, []string{"await all"}, w.noted)

	w = &world{wait: time.Hour}
	w.manager(t).Settle(t.Context()) // ends with AwaitTimeout
	require.Equal(t, []string{"await all"}, w.noted)

	w = &world{headErr: errors.New("down")}
	w.manager(t).Settle(t.Context())
	require.Empty(t, w.noted)
}
