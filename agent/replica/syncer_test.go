package replica

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// fakeStore is a catalog with one function, and the nodes that reported.
type fakeStore struct {
	delta    picloud.Delta
	source   []byte
	down     bool
	reported []int64
	others   []picloud.Node
}

func (f *fakeStore) Delta(_ context.Context, _, incarnation string, have int64) (picloud.Delta, error) {
	if f.down {
		return picloud.Delta{}, &picloud.Error{Code: picloud.CodeDatabaseDown}
	}
	if incarnation == f.delta.Incarnation && have == f.delta.Rev {
		return picloud.Delta{Incarnation: incarnation, Rev: have}, nil
	}
	return f.delta, nil
}

func (f *fakeStore) Sources(context.Context, []picloud.Digest) (map[picloud.Digest][]byte, error) {
	return map[picloud.Digest][]byte{picloud.DigestOf(f.source): f.source}, nil
}

func (f *fakeStore) Report(_ context.Context, n picloud.Node) error {
	f.reported = append(f.reported, n.Rev)
	return nil
}

func (f *fakeStore) List(context.Context) ([]picloud.Node, error) { return f.others, nil }

// newSyncer returns the syncer of a node that serves nothing yet.
func newSyncer(t *testing.T, dir string) (*Syncer, *Replica, *fakeStore) {
	t.Helper()
	source := []byte("one")
	store := &fakeStore{source: source, delta: picloud.Delta{
		Incarnation: "one", Rev: 7, Full: true,
		Routes: []picloud.Route{{App: "default", Function: "hello", Version: 1, Digest: picloud.DigestOf(source), Rev: 7}},
	}}
	r := New(dir, func(Change) {}, slog.New(slog.DiscardHandler))
	require.NoError(t, r.Boot())
	return NewSyncer(r, store, store, func() picloud.Node {
		return picloud.Node{ID: "self", Name: "pi-1", Rev: r.Durable(), SeenAt: time.Now()}
	}), r, store
}

// expired is a context that has ended.
func expired(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestADiskCopyThatFailedIsWrittenAgain: a node reports a revision only when it
// is on its disk, and does not wait for the next deploy to bring it there.
func TestADiskCopyThatFailedIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	s, r, store := newSyncer(t, dir)
	manifest := filepath.Join(dir, "catalog", manifestFile)
	require.NoError(t, os.MkdirAll(filepath.Join(manifest, "in the way"), 0o700)) // no file can be renamed to this

	require.Error(t, s.pull(t.Context()))
	_, rev := r.have()
	require.Equal(t, int64(7), rev, "it is served all the same")
	require.Zero(t, r.Durable())
	f, soon := NewFleet(s), expired(t)
	acks, err := f.Await(soon, 7, picloud.WaitNone)
	require.NoError(t, err)
	require.Equal(t, []string{"pi-1"}, acks.Missing, "a deploy is not complete while this node would lose it in a power cut")
	require.False(t, acks.Complete)
	require.Error(t, s.pull(t.Context()), "nothing new in the database, and still not on disk")
	require.Equal(t, []int64{0}, store.reported, "the node is known, but what would not survive a power cut is not acknowledged")

	require.NoError(t, os.RemoveAll(manifest))
	require.NoError(t, s.pull(t.Context()))
	require.Equal(t, []int64{0, 7}, store.reported)
	acks, err = f.Await(t.Context(), 7, picloud.WaitNone)
	require.NoError(t, err)
	require.Equal(t, []string{"pi-1"}, acks.Nodes)
	again, err := openDisk(dir, r.log)
	require.NoError(t, err)
	m, sources, damaged := again.load()
	require.Zero(t, damaged)
	require.Equal(t, int64(7), m.Rev)
	require.Equal(t, store.source, sources[picloud.DigestOf(store.source)])
}

// TestAwaitNamesWhoIsMissing covers the modes of a deploy's wait.
func TestAwaitNamesWhoIsMissing(t *testing.T) {
	s, _, store := newSyncer(t, t.TempDir())
	require.NoError(t, s.pull(t.Context()))
	now := time.Now()
	store.others = []picloud.Node{
		{ID: "self", Name: "pi-1", SeenAt: now},
		{ID: "b", Name: "pi-2", Rev: 7, SeenAt: now},
		{ID: "c", Name: "pi-3", Rev: 6, SeenAt: now},
		{ID: "d", Name: "pi-4", Rev: 7, SeenAt: now.Add(-10 * time.Minute)},
		{ID: "e", Name: "pi-5", Rev: 1, SeenAt: now.Add(-48 * time.Hour)},
	}
	f := NewFleet(s)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for mode, want := range map[picloud.Wait]picloud.Acks{
		"none":   {Rev: 7, Nodes: []string{"pi-1"}, Complete: true},
		"quorum": {Rev: 7, Nodes: []string{"pi-1", "pi-2"}, Missing: []string{"pi-3", "pi-4"}, Complete: true},
		"all":    {Rev: 7, Nodes: []string{"pi-1", "pi-2"}, Missing: []string{"pi-3", "pi-4"}},
	} {
		got, err := f.Await(soon, 7, mode)
		require.NoError(t, err)
		if len(want.Nodes) > 1 {
			require.ElementsMatch(t, want.Nodes, slices.Collect(maps.Keys(got.Times)), mode)
			require.LessOrEqual(t, got.Times["pi-1"], got.Times["pi-2"])
			got.Times = nil
		}
		require.Equal(t, want, got, mode)
	}
	got, err := f.Await(soon, 8, "none")
	require.NoError(t, err)
	require.Equal(t, []string{"pi-1"}, got.Missing, "this node itself does not serve it yet")
	require.False(t, got.Complete)
}
