package agent

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/replica"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/internal/service"
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
func newSyncer(t *testing.T, dir string) (*replica.Syncer, *Agent, *fakeStore) {
	t.Helper()
	a, err := New(Options{DataDir: dir, NodeName: "pi-1", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	a.identity.ID = "self"
	require.NoError(t, a.openCluster())
	a.executor, err = executor.New(executor.Options{})
	require.NoError(t, err)
	a.invoker.UseExecutor(a.executor)
	source := []byte(helloSource)
	store := &fakeStore{source: source, delta: picloud.Delta{
		Incarnation: "one", Rev: 7, Full: true,
		Routes: []picloud.Route{{App: "default", Function: "hello", Version: 1, Digest: picloud.DigestOf(source), Rev: 7}},
	}}
	require.NoError(t, a.replica.Boot())
	return replica.NewSyncer(a.replica, store, store, a.self), a, store
}

// runUntil runs a syncer until something holds.
func runUntil(t *testing.T, s *replica.Syncer, until func() bool) {
	t.Helper()
	task := service.Go(t.Context(), s.Run)
	defer task.Stop()
	require.Eventually(t, until, 5*time.Second, time.Millisecond)
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
	run := func(until func() bool) { t.Helper(); runUntil(t, s, until) }
	run(func() bool { return sample(t, a, "picloud_database_up") == 1 })
	require.Equal(t, float64(7), sample(t, a, "picloud_catalog_revision"))
	require.Equal(t, float64(1), sample(t, a, "picloud_functions"))
	require.GreaterOrEqual(t, sample(t, a, "picloud_catalog_age_seconds"), float64(0))

	store.down = true
	run(func() bool { return sample(t, a, "picloud_database_up") == 0 })
	store.down = false

	key := picloud.RouteKey{App: "default", Function: "hello"}
	for _, status := range []int{200, 204, 404, 500, 504, 0} {
		call := a.gateway.Endpoint(key).Function().Begin()
		call.End(trigger.HTTP, http.MethodGet, "/", status, nil)
	}
	for class, n := range map[string]float64{"2xx": 2, "3xx": 0, "4xx": 1, "5xx": 2, "other": 1} {
		require.Equal(t, n, sample(t, a, "picloud_invocations_total", "default", class, "hello", "http"), class)
	}
	require.Len(t, a.invoker.Records().Invocations("default", []string{"hello"}, 10, nil), 6)
	store.delta = picloud.Delta{Incarnation: "one", Rev: 8, Gone: []picloud.RouteKey{key}}
	run(func() bool { return sample(t, a, "picloud_catalog_revision") == 8 })
	for _, name := range []string{"picloud_invocations_total", "picloud_invocation_duration_seconds", "picloud_invocations_in_flight"} {
		require.True(t, math.IsNaN(sample(t, a, name)), "the series of a function go with it: %s", name)
	}
	require.Empty(t, a.invoker.Records().Invocations("default", []string{"hello"}, 10, nil), "and its records")
}

// TestADrainingNodeSaysSo turns balancers away before it stops.
func TestADrainingNodeSaysSo(t *testing.T) {
	s, a, _ := newSyncer(t, t.TempDir())
	require.NoError(t, a.logs.Start())
	defer a.logs.Stop()
	a.state.Store(int32(stateStarting))
	require.Equal(t, picloud.CodeStarting, picloud.CodeOf(a.Unready()))
	runUntil(t, s, func() bool { return a.Unready() == nil })
	next, err := a.logs.Follow(t.Context(), picloud.LogQuery{App: "default"})
	require.NoError(t, err)
	a.BeginDrain()
	require.Equal(t, picloud.CodeDraining, picloud.CodeOf(a.Unready()))
	_, err = next(t.Context())
	require.NoError(t, err)
	_, err = next(t.Context())
	require.ErrorIs(t, err, io.EOF, "a followed log holds up no shutdown")
	_, err = a.logs.Follow(t.Context(), picloud.LogQuery{App: "default"})
	require.ErrorIs(t, err, picloud.ErrUnavailable, err)
}
