package agent

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
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

// newSyncer returns the syncer of a node that never started.
func newSyncer(t *testing.T, dir string) (*syncer, *Agent, *fakeStore) {
	t.Helper()
	a, err := New(Options{DataDir: dir, NodeName: "pi-1", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	a.identity.ID = "self"
	a.executor, err = executor.New(executor.Options{})
	require.NoError(t, err)
	source := []byte(helloSource)
	store := &fakeStore{source: source, delta: picloud.Delta{
		Incarnation: "one", Rev: 7, Full: true,
		Routes: []picloud.Route{{App: "default", Function: "hello", Version: 1, Digest: picloud.DigestOf(source), Rev: 7}},
	}}
	disk, err := newSnapshot(dir, a.log)
	require.NoError(t, err)
	a.catalog.boot(disk)
	return &syncer{
		catalog: a.catalog, store: store, nodes: store, self: a.self, metrics: a.metrics,
		log: a.log, wakeup: make(chan struct{}, 1),
	}, a, store
}

// TestADiskCopyThatFailedIsWrittenAgain: a node reports a revision only when it
// is on its disk, and does not wait for the next deploy to bring it there.
func TestADiskCopyThatFailedIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	s, a, store := newSyncer(t, dir)
	manifest := filepath.Join(dir, "catalog", manifestFile)
	require.NoError(t, os.MkdirAll(filepath.Join(manifest, "in the way"), 0o700)) // no file can be renamed to this

	require.Error(t, s.pull(t.Context()))
	_, rev := a.catalog.have()
	require.Equal(t, int64(7), rev, "it is served all the same")
	require.Error(t, s.pull(t.Context()), "nothing new in the database, and still not on disk")
	require.Equal(t, []int64{0}, store.reported, "the node is known, but what would not survive a power cut is not acknowledged")

	require.NoError(t, os.RemoveAll(manifest))
	require.NoError(t, s.pull(t.Context()))
	require.Equal(t, []int64{0, 7}, store.reported)
	again, err := newSnapshot(dir, a.log)
	require.NoError(t, err)
	m, sources, damaged := again.load()
	require.Zero(t, damaged)
	require.Equal(t, int64(7), m.Rev)
	require.Equal(t, store.source, sources[picloud.DigestOf(store.source)])
}

// sample reads a metric as /metrics shows it: its first series whose label
// values, in the order of the labels' names, are these. NaN: there is none.
func sample(t *testing.T, a *Agent, name string, labels ...string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	for _, c := range a.Collectors() {
		require.NoError(t, registry.Register(c))
	}
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if len(labels) == 0 || slices.Equal(values, labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return math.NaN()
}

// TestMetricsOfTheCatalog follows a node through an outage and a deletion.
func TestMetricsOfTheCatalog(t *testing.T) {
	s, a, store := newSyncer(t, t.TempDir())
	require.Equal(t, float64(-1), sample(t, a, "picloud_catalog_age_seconds"), "never compared")
	run := func(until func() bool) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.run(ctx) }()
		require.Eventually(t, until, 5*time.Second, time.Millisecond)
		cancel()
		<-done
	}
	run(func() bool { return sample(t, a, "picloud_database_up") == 1 })
	require.Equal(t, float64(7), sample(t, a, "picloud_catalog_revision"))
	require.Equal(t, float64(1), sample(t, a, "picloud_functions"))
	require.GreaterOrEqual(t, sample(t, a, "picloud_catalog_age_seconds"), float64(0))

	store.down = true
	run(func() bool { return sample(t, a, "picloud_database_up") == 0 })
	store.down = false

	key := picloud.RouteKey{App: "default", Function: "hello"}
	g := a.metrics.gauge(key, picloud.TriggerHTTP)
	for _, status := range []int{200, 204, 404, 500, 504, 0} {
		g.observe(status, time.Millisecond)
	}
	for class, n := range map[string]float64{"2xx": 2, "3xx": 0, "4xx": 1, "5xx": 2, "other": 1} {
		require.Equal(t, n, sample(t, a, "picloud_invocations_total", "default", class, "hello", "http"), class)
	}
	a.rings.of(key).add(picloud.Invocation{ID: "1"})
	store.delta = picloud.Delta{Incarnation: "one", Rev: 8, Gone: []picloud.RouteKey{key}}
	run(func() bool { return sample(t, a, "picloud_catalog_revision") == 8 })
	for _, name := range []string{"picloud_invocations_total", "picloud_invocation_duration_seconds", "picloud_invocations_in_flight"} {
		require.True(t, math.IsNaN(sample(t, a, name)), "the series of a function go with it: %s", name)
	}
	require.Empty(t, a.rings.Invocations("default", "hello", 10), "and its records")
}

// TestAwaitNamesWhoIsMissing covers the modes of a deploy's wait.
func TestAwaitNamesWhoIsMissing(t *testing.T) {
	s, a, store := newSyncer(t, t.TempDir())
	require.NoError(t, s.pull(t.Context()))
	now := time.Now()
	store.others = []picloud.Node{
		{ID: "self", Name: "pi-1", SeenAt: now},
		{ID: "b", Name: "pi-2", Rev: 7, SeenAt: now},
		{ID: "c", Name: "pi-3", Rev: 6, SeenAt: now},
		{ID: "d", Name: "pi-4", Rev: 7, SeenAt: now.Add(-10 * time.Minute)},
		{ID: "e", Name: "pi-5", Rev: 1, SeenAt: now.Add(-48 * time.Hour)},
	}
	f := &fleet{self: a.self, nodes: store, catalog: a.catalog, wake: s.wake, changed: make(chan struct{})}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for mode, want := range map[picloud.Wait]picloud.Acks{
		"none":   {Rev: 7, Nodes: []string{"pi-1"}, Complete: true},
		"quorum": {Rev: 7, Nodes: []string{"pi-1", "pi-2"}, Missing: []string{"pi-3", "pi-4"}, Complete: true},
		"all":    {Rev: 7, Nodes: []string{"pi-1", "pi-2"}, Missing: []string{"pi-3", "pi-4"}},
	} {
		got, err := f.Await(soon, 7, mode)
		require.NoError(t, err)
		require.Equal(t, want, got, mode)
	}
	got, err := f.Await(soon, 8, "none")
	require.NoError(t, err)
	require.Equal(t, []string{"pi-1"}, got.Missing, "this node itself does not serve it yet")
	require.False(t, got.Complete)
}

// TestADrainingNodeSaysSo turns balancers away before it stops.
func TestADrainingNodeSaysSo(t *testing.T) {
	s, a, _ := newSyncer(t, t.TempDir())
	require.NoError(t, a.logs.start())
	defer a.logs.stop()
	a.state.Store(int32(stateStarting))
	require.Equal(t, picloud.CodeStarting, picloud.CodeOf(a.Unready()))
	require.NoError(t, s.pull(t.Context()))
	require.NoError(t, a.Unready())
	feed, err := a.logs.Follow(t.Context(), "default", "hello")
	require.NoError(t, err)
	a.BeginDrain()
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(a.Unready()))
	_, more := <-feed
	require.False(t, more, "a followed log holds up no shutdown")
	_, err = a.logs.Follow(t.Context(), "default", "hello")
	require.True(t, errors.Is(err, picloud.ErrUnavailable), err)
}
