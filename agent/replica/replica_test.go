package replica

import (
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// server notes the functions of each change that have to be made, and those that go.
type server struct {
	made int
	gone []picloud.RouteKey
}

func (b *server) serve(c Change) {
	for key := range c.New.Routes {
		if !c.Same(key) {
			b.made++
		}
	}
	if c.Old == nil {
		return
	}
	for key := range c.Old.Routes {
		if _, stays := c.New.Routes[key]; !stays || c.Ended[key.App] {
			b.gone = append(b.gone, key)
		}
	}
}

// apply is applyTo for the present state.
func (r *Replica) apply(d picloud.Delta, fetched map[picloud.Digest][]byte) error {
	return r.applyTo(r.state.Load(), d, fetched)
}

func newTestReplica(t testing.TB, dir string) (*Replica, *server) {
	t.Helper()
	b := &server{}
	r := New(dir, b.serve, slog.New(slog.DiscardHandler))
	require.NoError(t, r.Boot())
	return r, b
}

var oneSource = []byte("one")

func routeOf(app, function string, rev int64) picloud.Route {
	return picloud.Route{App: app, Function: function, Version: 1, Digest: picloud.DigestOf(oneSource), Rev: rev}
}

func sourcesOf() map[picloud.Digest][]byte {
	return map[picloud.Digest][]byte{picloud.DigestOf(oneSource): oneSource}
}

// TestConfigurationsChangeTheirAppsEndpointsOnly.
func TestConfigurationsChangeTheirAppsEndpointsOnly(t *testing.T) {
	dir := t.TempDir()
	c, b := newTestReplica(t, dir)
	shop := picloud.AppConfig{App: "shop", Env: picloud.Env{"A": "1"}, Secrets: map[string][]byte{"T": {1}}, Key: []byte{2}, Rev: 1}
	apply := func(d picloud.Delta) {
		t.Helper()
		d.Incarnation = "one"
		require.NoError(t, c.apply(d, sourcesOf()))
	}
	has := func(app, function string) bool {
		_, ok := c.State().Routes[picloud.RouteKey{App: app, Function: function}]
		return ok
	}
	apply(picloud.Delta{Rev: 1, Full: true, Routes: []picloud.Route{routeOf("shop", "a", 1), routeOf("shop", "b", 1), routeOf("blog", "a", 1)}, Apps: []picloud.AppConfig{shop}})
	require.Equal(t, 3, b.made)
	require.Equal(t, shop, c.State().App("shop"))
	require.Equal(t, picloud.AppConfig{App: "blog"}, c.State().App("blog"))

	shop.Env, shop.Rev = picloud.Env{"A": "2"}, 2
	apply(picloud.Delta{Rev: 2, Apps: []picloud.AppConfig{shop}})
	require.Equal(t, 5, b.made, "both functions of the app, and no other")
	require.Equal(t, "2", c.State().App("shop").Env["A"])

	limits := picloud.Limits{HostCalls: 3}
	apply(picloud.Delta{Rev: 3, Limits: limits})
	require.Equal(t, 8, b.made, "the node's limits are everybody's")
	require.Equal(t, 3, c.State().Limits.HostCalls)
	apply(picloud.Delta{Rev: 4, Limits: limits})
	require.Equal(t, 8, b.made)
	require.False(t, c.State().changedBy(picloud.Delta{Rev: 4, Limits: limits}))
	require.True(t, c.State().changedBy(picloud.Delta{Rev: 4}), "limits that went away")

	// The applied state is on disk, and a restart loads it.
	again, _ := newTestReplica(t, dir)
	require.Equal(t, c.State(), again.State())
	require.Equal(t, limits, again.State().Limits)
	require.Contains(t, again.State().Routes, picloud.RouteKey{App: "shop", Function: "a"})
	require.Equal(t, shop, again.State().App("shop"))
	require.Equal(t, int64(4), again.Durable())
	inc, rev := again.have()
	require.Equal(t, "one", inc)
	require.Equal(t, int64(4), rev)

	// A whole app goes with all of its functions, whatever else is named.
	b.gone = nil
	apply(picloud.Delta{Rev: 5, Limits: limits, Gone: []picloud.RouteKey{{App: "shop"}, {App: "shop", Function: "a"}}})
	require.Len(t, b.gone, 2)
	require.False(t, has("shop", "b"))
	require.True(t, has("blog", "a"))
	require.False(t, c.State().Knows("shop"))

	// An app that came back since has what the delta has, and no more.
	apply(picloud.Delta{Rev: 6, Limits: limits, Gone: []picloud.RouteKey{{App: "blog"}}, Apps: []picloud.AppConfig{{App: "blog", Rev: 6}}, Routes: []picloud.Route{routeOf("blog", "b", 6)}})
	require.False(t, has("blog", "a"))
	require.True(t, has("blog", "b"))
}

// TestACopyOfTheFirstFormatIsServed, and the rest is asked for.
func TestACopyOfTheFirstFormatIsServed(t *testing.T) {
	dir := t.TempDir()
	s, err := openDisk(dir, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	inner, err := json.Marshal(map[string]any{"format": 1, "incarnation": "one", "rev": 9, "routes": []picloud.Route{routeOf("shop", "a", 9)}})
	require.NoError(t, err)
	raw, err := json.Marshal(envelope{SHA256: picloud.DigestOf(inner), Manifest: inner})
	require.NoError(t, err)
	require.NoError(t, datadir.WriteFile(filepath.Join(s.dir, manifestFile), raw))
	require.NoError(t, os.WriteFile(s.object(picloud.DigestOf(oneSource)), oneSource, 0o600))

	c, _ := newTestReplica(t, dir)
	require.Contains(t, c.State().Routes, picloud.RouteKey{App: "shop", Function: "a"})
	incarnation, _ := c.have()
	require.Empty(t, incarnation, "asks for the whole catalog")
	require.False(t, c.rewrite, "nothing is damaged")

	require.NoError(t, c.apply(picloud.Delta{Incarnation: "one", Rev: 9, Full: true, Routes: []picloud.Route{routeOf("shop", "a", 9)}, Apps: []picloud.AppConfig{{App: "shop", Env: picloud.Env{"A": "1"}}}}, nil))
	again, _ := newTestReplica(t, dir)
	incarnation, _ = again.have()
	require.Equal(t, "one", incarnation)
	require.Equal(t, "1", again.State().App("shop").Env["A"])
}

// TestDeltasLeadWhereTheWholeLeads: whatever way a node came to a revision, it
// serves the same, and so does its copy on disk.
func TestDeltasLeadWhereTheWholeLeads(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		sub, err := os.MkdirTemp(dir, "")
		require.NoError(t, err)
		c := New(sub, func(Change) {}, slog.New(slog.DiscardHandler))
		require.NoError(t, c.Boot())
		routes, apps, limits := map[picloud.RouteKey]picloud.Route{}, map[string]picloud.AppConfig{}, picloud.Limits{}
		for rev := int64(1); rev <= int64(rapid.IntRange(1, 6).Draw(t, "steps")); rev++ {
			d := picloud.Delta{Incarnation: "one", Rev: rev}
			for range rapid.IntRange(1, 3).Draw(t, "changes") {
				app := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app")
				r := routeOf(app, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "function"), rev)
				switch rapid.IntRange(0, 4).Draw(t, "kind") {
				case 0:
					if routes[r.Key()].Rev != rev {
						r.Settings.Env = picloud.Env{"R": rapid.StringMatching(`[a-c]`).Draw(t, "value")}
						routes[r.Key()] = r
						d.Routes = append(d.Routes, r)
					}
				case 1:
					if apps[app].Rev != rev {
						apps[app] = picloud.AppConfig{App: app, Env: picloud.Env{"A": rapid.StringMatching(`[a-c]`).Draw(t, "value")}, Rev: rev}
						d.Apps = append(d.Apps, apps[app])
					}
				case 2:
					if routes[r.Key()].Rev != rev {
						delete(routes, r.Key())
						d.Gone = append(d.Gone, r.Key())
					}
				case 3: // alone: a transaction deletes an app, or changes it
					if len(d.Routes)+len(d.Apps) == 0 {
						delete(apps, app)
						maps.DeleteFunc(routes, func(k picloud.RouteKey, _ picloud.Route) bool { return k.App == app })
						d.Gone = append(d.Gone, picloud.RouteKey{App: app})
					}
				case 4:
					limits.Queue = rapid.IntRange(0, 3).Draw(t, "queue")
				}
			}
			d.Limits = limits
			d.Full = rapid.IntRange(0, 5).Draw(t, "full") == 0
			if d.Full {
				d.Routes, d.Apps, d.Gone = slices.Collect(maps.Values(routes)), slices.Collect(maps.Values(apps)), nil
			}
			require.NoError(t, c.apply(d, sourcesOf()))
			again := New(sub, func(Change) {}, slog.New(slog.DiscardHandler))
			require.NoError(t, again.Boot())
			for _, have := range []*State{c.State(), again.State()} {
				require.Equal(t, limits, have.Limits)
				require.Len(t, have.Routes, len(routes))
				require.Len(t, have.Apps, len(apps))
				for key, r := range routes {
					want := apps[key.App]
					want.App = key.App
					was := &State{Routes: map[picloud.RouteKey]picloud.Route{key: r}, Apps: map[string]picloud.AppConfig{key.App: want}, Limits: limits}
					require.True(t, Change{Old: was, New: have}.Same(key), "%v", key)
				}
			}
		}
	})
}
