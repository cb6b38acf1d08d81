package replica

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// catalogOf makes a manifest with one route per source, and the sources.
func catalogOf(rev int64, sources ...string) (manifest, map[picloud.Digest][]byte) {
	m := manifest{Format: manifestFormat, Incarnation: "one", Rev: rev}
	objects := map[picloud.Digest][]byte{}
	for i, s := range sources {
		d := picloud.DigestOf([]byte(s))
		objects[d] = []byte(s)
		m.Routes = append(m.Routes, picloud.Route{App: "app", Function: fmt.Sprintf("f%d", i), Version: 1, Digest: d, Rev: rev})
	}
	return m, objects
}

func newTestSnapshot(t *testing.T) *disk {
	t.Helper()
	s, err := openDisk(t.TempDir(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return s
}

func TestSnapshotRoundTrip(t *testing.T) {
	s := newTestSnapshot(t)
	m, objects := catalogOf(7, "one", "two", "one")
	require.NoError(t, s.save(m, objects))
	got, sources, damaged := s.load()
	require.Zero(t, damaged)
	require.Equal(t, &m, got)
	require.Equal(t, objects, sources)

	_, _, damaged = newTestSnapshot(t).load()
	require.Zero(t, damaged, "an empty folder is not damaged")
}

func TestSnapshotCollectsWhatNothingNames(t *testing.T) {
	s := newTestSnapshot(t)
	for rev, source := range []string{"first", "second", "third"} {
		m, objects := catalogOf(int64(rev), source)
		require.NoError(t, s.save(m, objects))
	}
	entries, err := os.ReadDir(s.objects())
	require.NoError(t, err)
	require.Len(t, entries, 2, "the current and the previous manifest's sources stay")
}

func TestDamagedManifestFallsBackToThePreviousOne(t *testing.T) {
	s := newTestSnapshot(t)
	before, objects := catalogOf(1, "old")
	require.NoError(t, s.save(before, objects))
	after, objects := catalogOf(2, "new")
	require.NoError(t, s.save(after, objects))

	path := filepath.Join(s.dir, manifestFile)
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"truncated": raw[:len(raw)/2],
		"empty":     {},
		"one flipped bit": func() []byte {
			b := append([]byte(nil), raw...)
			b[len(b)-10] ^= 1
			return b
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, content, 0o600))
			got, sources, damaged := s.load()
			require.Equal(t, 1, damaged)
			require.Equal(t, &before, got)
			require.Equal(t, "old", string(sources[before.Routes[0].Digest]))
		})
	}
}

func TestDamagedObjectLeavesOnlyItsRouteOut(t *testing.T) {
	s := newTestSnapshot(t)
	m, objects := catalogOf(3, "good", "bad")
	require.NoError(t, s.save(m, objects))
	require.NoError(t, os.WriteFile(s.object(m.Routes[1].Digest), []byte("bAd"), 0o600))
	got, sources, damaged := s.load()
	require.Equal(t, 1, damaged)
	require.Equal(t, m.Routes[:1], got.Routes)
	require.Len(t, sources, 1)
}

func FuzzManifest(f *testing.F) {
	s := &disk{dir: f.TempDir(), log: slog.New(slog.DiscardHandler)}
	require.NoError(f, os.MkdirAll(s.objects(), 0o700))
	m, objects := catalogOf(3, "x")
	require.NoError(f, s.save(m, objects))
	path := filepath.Join(s.dir, manifestFile)
	raw, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"sha256":"","manifest":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		if got, err := s.readManifest(manifestFile); err == nil {
			require.Equal(t, manifestFormat, got.Format)
		}
	})
}
