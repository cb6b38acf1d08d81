package replica

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/powercut"
)

func init() { powercut.Program("copy", keepCopies) }

// revisions are the sources of each revision that a node gets, one after the other. Some
// sources are in several of them, one comes back, and one is larger than a page.
var revisions = [][]string{
	{"one", "two"},
	{"one", "two", "three"},
	{"two", "three"},
	{"one", string(make([]byte, 9000)) + "large"},
	{},
	{"three", "four"},
}

func silentDisk(dir string) (*disk, error) { return openDisk(dir, slog.New(slog.DiscardHandler)) }

// keepCopies saves the revisions, and says after each that it is safe.
func keepCopies(dir string) error {
	s, err := silentDisk(dir)
	if err != nil {
		return err
	}
	known := map[picloud.Digest]bool{} // what the node has in memory; the disk collects what nothing names
	for i, sources := range revisions {
		m, objects := catalogOf(int64(i+1), sources...)
		fresh := map[picloud.Digest][]byte{}
		for d, source := range objects {
			if !known[d] {
				fresh[d] = source
			}
		}
		clear(known)
		for d := range objects {
			known[d] = true
		}
		if err := s.save(m, fresh); err != nil {
			return err
		}
		powercut.Say(strconv.Itoa(i + 1))
	}
	return nil
}

// TestPowerCuts cuts the power after each operation of the disk copy. The node boots with the
// revision that it had acknowledged or with the next one, whole, and can save again.
func TestPowerCuts(t *testing.T) {
	ops := powercut.Record(t, "copy")
	begun := time.Now()
	met := map[int64]bool{}
	tried := powercut.Try(t, ops, powercut.POSIX, 3, func(p powercut.State) {
		s, err := silentDisk(p.Dir)
		require.NoError(t, err, p)
		m, sources, damaged := s.load()
		require.Zero(t, damaged, p)
		safe := int64(len(p.Said))
		if m == nil {
			require.Zero(t, safe, p)
			return
		}
		met[m.Rev] = true
		require.Contains(t, []int64{safe, safe + 1}, m.Rev, p)
		want, objects := catalogOf(m.Rev, revisions[m.Rev-1]...)
		require.Equal(t, want.Routes, m.Routes, p)
		require.Equal(t, objects, sources, p)
		functions, _, found := Kept(filepath.Clean(p.Dir))
		require.True(t, found, p)
		require.Len(t, m.Routes, functions, p)

		next, objects := catalogOf(m.Rev+1, "after the power cut", fmt.Sprint(p.Done))
		require.NoError(t, s.save(next, objects), p)
		m, _, damaged = s.load()
		require.Zero(t, damaged, p)
		require.Equal(t, next.Rev, m.Rev, p)
	})
	require.Len(t, met, len(revisions))
	t.Logf("%d operations, %d states, %s", len(ops), tried, time.Since(begun).Round(time.Millisecond))
}
