package cluster

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/cluster/join"
)

// TestANodeFollowsTheDatabase: forward only, on disk first, and the host before is refused.
func TestANodeFollowsTheDatabase(t *testing.T) {
	c := member(t, "127.0.0.1:1", Options{})
	c.state.Database = join.Database{Host: otherID, Role: "mine"}
	const next = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a13"
	for what, m := range map[string]Moved{
		"the same generation": {Host: next}, "nobody": {Generation: 1}, "a node that was removed": {Host: next, Generation: 1, Removed: []string{next}},
	} {
		news, err := c.Follow(m)
		require.NoError(t, err)
		require.False(t, news, what)
	}
	news, err := c.Follow(Moved{Host: next, Generation: 2, Removed: []string{otherID}})
	require.NoError(t, err)
	require.True(t, news)
	require.True(t, c.refused(otherID))
	news, err = c.Follow(Moved{Host: otherID, Generation: 1})
	require.NoError(t, err)
	require.False(t, news, "an earlier one")
	again, err := Open(c.o)
	require.NoError(t, err)
	require.Equal(t, join.Database{Host: next, Generation: 2, Role: "mine"}, again.State().Database)
	require.Empty(t, again.State().Members)
	require.True(t, again.refused(otherID))

	again.state.Database = join.Database{DSN: "postgres://db/x"}
	news, err = again.Follow(Moved{Host: next, Generation: 9})
	require.NoError(t, err)
	require.False(t, news, "a database elsewhere does not move")
}

// TestTwoRestoresAtTheSameTime make one generation: everybody ends up at the same of the two, and
// refuses the other.
func TestTwoRestoresAtTheSameTime(t *testing.T) {
	const less, more = "1f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a13", "ef1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a13"
	for _, order := range [][]string{{less, more}, {more, less}} {
		c := member(t, "127.0.0.1:1", Options{})
		c.state.Database = join.Database{Host: otherID}
		for _, host := range order {
			_, err := c.Follow(Moved{Host: host, Generation: 1, Removed: []string{otherID}})
			require.NoError(t, err)
		}
		require.Equal(t, more, c.State().Database.Host)
		require.False(t, c.refused(more))
		require.Equal(t, order[0] == less, c.refused(less))
	}
}

// TestAHostThatRenounces has no say any more, after a restart either.
func TestAHostThatRenounces(t *testing.T) {
	c := member(t, "127.0.0.1:1", Options{})
	c.state.Database = join.Database{Host: nodeID}
	dir := c.o.Dir
	c.o.Dir = filepath.Join(dir, "missing")
	require.Error(t, c.Renounce(), "the disk is full")
	require.True(t, c.Removed())
	c.o.Dir = dir
	require.NoError(t, c.Renounce())
	require.NoError(t, c.Renounce())
	require.True(t, c.Removed())
	again, err := Open(c.o)
	require.NoError(t, err)
	require.True(t, again.Removed())
	require.Equal(t, []string{nodeID}, again.State().Removed)
}
