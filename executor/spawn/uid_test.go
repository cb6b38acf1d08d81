package spawn

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUIDs(t *testing.T) {
	r := &uidRange{base: 1000, taken: map[int]bool{}}
	seen := map[int]bool{}
	for range uidCount {
		uid, ok := r.acquire()
		require.True(t, ok)
		require.False(t, seen[uid])
		seen[uid] = true
	}
	_, ok := r.acquire()
	require.False(t, ok, "never the agent's own")
	r.release(1234)
	uid, ok := r.acquire()
	require.True(t, ok)
	require.Equal(t, 1234, uid)
	for _, base := range []int{NoUID, nobody} {
		r = &uidRange{base: base, taken: map[int]bool{}}
		uid, ok = r.acquire()
		require.True(t, ok)
		require.Equal(t, base, uid)
		r.release(uid)
	}
}
