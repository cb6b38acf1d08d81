package manager

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestAwaitNeverFails: the change stands whoever serves it.
func TestAwaitNeverFails(t *testing.T) {
	w := &world{}
	acks := w.manager(t).Await(t.Context(), 7, picloud.WaitAll)
	require.Equal(t, picloud.Acks{Rev: 7, Nodes: []string{"pi-1"}, Missing: []string{}, Complete: true}, acks)
	require.Equal(t, []string{"await all"}, w.noted)

	w = &world{wait: time.Hour}
	acks = w.manager(t).Await(t.Context(), 7, picloud.WaitAll) // ends with AwaitTimeout
	require.Equal(t, picloud.Acks{Rev: 7, Nodes: []string{}, Missing: []string{"pi-2"}}, acks)
	require.Equal(t, []string{"await all"}, w.noted)

	w = &world{awaitErr: errors.New("down")}
	acks = w.manager(t).Await(t.Context(), 7, picloud.WaitAll)
	require.Equal(t, picloud.Acks{Rev: 7, Nodes: []string{}, Missing: []string{}}, acks)
}
