package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

// awaits waits until a function answers with a text.
func (ta *testAgent) awaits(function, text string) {
	ta.t.Helper()
	require.Eventually(ta.t, func() bool { _, body := ta.call(function); return body == text }, 20*time.Second, 5*time.Millisecond)
}

// TestANewerCatalogWithoutTheDatabase: nodes that were off during a deploy come back when the
// database and its board are gone. They get the new version from a node that has it: from
// one that may manage, and then from one that serves only and passes it on.
func TestANewerCatalogWithoutTheDatabase(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "", onPorts(t)).ready()
	a.deploy("f", returns("old"))
	status, body := a.api(http.MethodPut, "/apps/default/secrets/WORD", "swordfish")
	require.Equal(t, http.StatusNoContent, status, body)
	b := a.joined("pi-2")
	c, d := a.served("pi-3"), a.served("pi-4")
	for _, n := range []*testAgent{b, c, d} {
		n.awaits("f", "old")
		require.Eventually(t, func() bool { return len(n.alive()) == 3 }, 20*time.Second, 5*time.Millisecond, "each has heard of the others")
	}
	c.Stop()
	d.Stop()
	for function, source := range map[string]string{"f": returns("new"), "word": `function handle(req) { return secrets.get("WORD") }`} {
		status, answer := a.api(http.MethodPut, "/apps/default/functions/"+function+"/code?create=true&deploy=true&wait=all", source)
		require.Equal(t, http.StatusAccepted, status, answer)
		require.Contains(t, answer, `"missing":["pi-3","pi-4"]`)
	}
	b.awaits("f", "new")
	a.Stop()

	c = c.again()
	_, body = c.call("f")
	require.Equal(t, "old", body, "it serves what it has at once")
	c.awaits("f", "new")
	c.awaits("word", "swordfish")
	require.Eventually(t, func() bool { return c.replica.Durable() == b.replica.State().Rev }, 10*time.Second, time.Millisecond, "and it is on disk")
	require.Error(t, c.database.closed(), "the database is away all the while")

	b.Stop()
	d = d.again()
	d.awaits("f", "new")
	d.awaits("word", "swordfish")

	// The database is back, and with it what came after.
	a, b = a.again().ready(), b.again()
	for _, n := range []*testAgent{b, c, d} {
		n.reached()
	}
	a.deploy("f", returns("newest"))
	for _, n := range []*testAgent{b, c, d} {
		n.awaits("f", "newest")
		require.NoFileExists(t, filepath.Join(n.opts.DataDir, "catalog", "handed"))
	}
}

func returns(text string) string { return `function handle(req) { return "` + text + `" }` }

// TestAnOldCopySaysSo: a node that was cut off for long answers with the age of its copy, and
// does not run functions for which that is too old.
func TestAnOldCopySaysSo(t *testing.T) {
	dir, dsn := testdb.Dir(t), testdb.DSN(t)
	a := startAgent(t, dir, dsn).ready()
	a.deploy("any", returns("any"))
	a.deploy("strict", returns("strict"))
	status, answer := a.api(http.MethodPatch, "/apps/default/functions/strict", `{"settings":{"limits":{"max_stale":"5m"}}}`)
	require.Equal(t, http.StatusOK, status, answer)
	require.Contains(t, answer, `"max_stale":"5m0s"`)
	limit := func() picloud.Duration {
		return a.gateway.Endpoint(picloud.RouteKey{App: "default", Function: "strict"}).Function().Limits.MaxStale
	}
	require.Eventually(t, func() bool { return limit() == picloud.Duration(5*time.Minute) }, 10*time.Second, time.Millisecond)
	resp, _ := a.do(http.MethodGet, a.functions.URL+"/fn/default/strict", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Empty(t, resp.Header.Values("X-PiCloud-Stale"))
	require.NotContains(t, a.Missing(), "current_catalog")
	a.Stop()

	// The node was off for four minutes, and then for ten, and the database is gone.
	record := filepath.Join(dir, "catalog", "compared.json")
	for off, strict := range map[time.Duration]int{4 * time.Minute: http.StatusOK, 10 * time.Minute: http.StatusServiceUnavailable} {
		require.NoError(t, os.WriteFile(record, []byte(`{"at":"`+time.Now().Add(-off).UTC().Format(time.RFC3339)+`","cut":true}`), 0o600))
		b := startAgent(t, dir, "postgres://nobody@127.0.0.1:1/none")
		resp, body := b.do(http.MethodGet, b.functions.URL+"/fn/default/any", "")
		require.Equal(t, http.StatusOK, resp.StatusCode, body)
		age, err := time.ParseDuration(resp.Header.Get("X-PiCloud-Stale") + "s")
		require.NoError(t, err)
		require.InDelta(t, off, age, float64(30*time.Second))
		require.Equal(t, age, age.Truncate(time.Second))
		resp, body = b.do(http.MethodPost, b.functions.URL+"/fn/default/strict", strings.Repeat("x", 1<<20))
		require.Equal(t, strict, resp.StatusCode, body)
		require.NotEmpty(t, resp.Header.Get("X-PiCloud-Stale"))
		require.Contains(t, b.Missing(), "current_catalog")
		require.InDelta(t, off.Seconds(), sample(t, b.Agent, "picloud_catalog_age_seconds"), 30)
		if strict != http.StatusOK {
			require.Contains(t, body, `"code":"PC1407"`)
			require.Contains(t, body, "max_stale is 5m0s")
			require.Equal(t, "5", resp.Header.Get("Retry-After"))
			require.Equal(t, "platform", resp.Header.Get("X-PiCloud-Error"))
		}
		b.Stop()
	}

	// With the database all is as before, and a restart has forgotten it.
	c := startAgent(t, dir, dsn).ready()
	require.Eventually(t, func() bool {
		resp, _ := c.do(http.MethodGet, c.functions.URL+"/fn/default/strict", "")
		return resp.StatusCode == http.StatusOK && resp.Header.Get("X-PiCloud-Stale") == ""
	}, 10*time.Second, time.Millisecond)
	c.Stop()
	d := startAgent(t, dir, "postgres://nobody@127.0.0.1:1/none")
	resp, _ = d.do(http.MethodGet, d.functions.URL+"/fn/default/strict", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Empty(t, resp.Header.Values("X-PiCloud-Stale"), "it was in touch until its stop")
}
