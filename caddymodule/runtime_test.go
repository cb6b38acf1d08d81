package caddymodule

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

// TestTheLockIsThatOfTheFolder: a Caddyfile may name another data folder than
// the environment that `picloud run` locked; the node must lock that one.
func TestTheLockIsThatOfTheFolder(t *testing.T) {
	locked, other := t.TempDir(), t.TempDir()
	lock, err := datadir.Acquire(locked)
	require.NoError(t, err)
	launched.Store(&launch{lock: lock})
	t.Cleanup(func() { launched.Store(nil); lock.Release() })
	for dir, want := range map[string]*datadir.Lock{locked: lock, other: nil} {
		r, err := acquireRuntime(settings{Options: agent.Options{DataDir: dir, NodeName: "pi-1"}})
		require.NoError(t, err)
		require.Same(t, want, r.agent.Options().Lock, dir)
		require.NoError(t, releaseRuntime())
	}
}
