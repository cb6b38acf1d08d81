package replica

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// TestADeadNodeCostsOneDeploy: a node that let one change wait is named as missing at
// once by the next, until it is heard from again.
func TestADeadNodeCostsOneDeploy(t *testing.T) {
	s, r, store := newSyncer(t, t.TempDir())
	require.NoError(t, s.pull(t.Context()))
	require.Equal(t, int64(7), r.Durable())
	f, now := NewFleet(s), time.Now()
	store.others = []picloud.Node{{ID: "self", Name: "pi-1", SeenAt: now}, {ID: "b", Name: "pi-2", Rev: 6, SeenAt: now}}
	await := func(within time.Duration, mode picloud.Wait) (picloud.Acks, bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		acks, err := f.Await(ctx, 7, mode)
		require.NoError(t, err)
		return acks, ctx.Err() == nil
	}
	missing := picloud.Acks{Rev: 7, Nodes: []string{"pi-1"}, Missing: []string{"pi-2"}}
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err := f.Await(gone, 7, picloud.WaitAll)
	require.NoError(t, err)
	acks, soon := await(20*time.Millisecond, picloud.WaitAll)
	require.False(t, soon, "a caller that went away says nothing of the node")
	require.Equal(t, missing, acks)
	for _, mode := range []picloud.Wait{picloud.WaitAll, picloud.WaitQuorum} {
		acks, soon = await(time.Minute, mode)
		require.True(t, soon, mode)
		require.Equal(t, missing, acks, "a suspect counts, so that one of two is no quorum")
	}
	store.others[1].SeenAt = now.Add(time.Second)
	_, soon = await(20*time.Millisecond, picloud.WaitAll)
	require.False(t, soon, "it was heard from")
	store.others[1].Rev = 7
	acks, soon = await(time.Minute, picloud.WaitAll)
	require.True(t, soon && acks.Complete)
	store.others = store.others[:1]
	_, soon = await(time.Minute, picloud.WaitAll)
	require.True(t, soon)
	require.Empty(t, f.suspects, "a node that was removed is no suspect")
}
