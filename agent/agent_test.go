package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/gateway"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/internal/testdb"
	"github.com/picloud/picloud/internal/testworker"
)

func TestMain(m *testing.M) {
	// A probe that is under way when the gossip stops ends by its timeout.
	testdb.Main(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

// testAgent is a node on a database of its own, behind plain HTTP servers.
type testAgent struct {
	*Agent
	t                  *testing.T
	functions, control *httptest.Server
	token              string
}

// startAgent starts a node and stops it when the test ends.
func startAgent(t *testing.T, dataDir, dsn string, change ...func(*Options)) *testAgent {
	t.Helper()
	opts := Options{
		DataDir: dataDir, NodeName: "pi-1", DatabaseURL: dsn, WorkerPath: testworker.Path(t), Version: "test",
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
	for _, c := range change {
		c(&opts)
	}
	a, err := New(opts)
	require.NoError(t, err)
	ta := &testAgent{Agent: a, t: t}
	ta.functions = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.ServeFunction(w, r, &gateway.Caller{IP: "192.0.2.7"}) {
			http.NotFound(w, r)
		}
	}))
	ta.control = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeControl(w, r, http.NotFoundHandler())
	}))
	t.Cleanup(func() {
		ta.functions.Close()
		ta.control.Close()
		a.Stop()
	})
	require.NoError(t, a.Start())
	return ta
}

// named gives a node a name of its own.
func named(name string) func(*Options) { return func(o *Options) { o.NodeName = name } }

// ready waits until the node serves and its control API is open.
func (ta *testAgent) ready() *testAgent {
	ta.t.Helper()
	select {
	case <-ta.Ready():
	case <-time.After(30 * time.Second):
		ta.t.Fatalf("not ready: %+v", ta.Status().Database)
	}
	require.Eventually(ta.t, func() bool { return ta.database.closed() == nil }, 30*time.Second, time.Millisecond)
	raw, err := os.ReadFile(filepath.Join(ta.opts.DataDir, "credentials"))
	require.NoError(ta.t, err)
	var c credentials.File
	require.NoError(ta.t, json.Unmarshal(raw, &c))
	ta.token = c.Token
	return ta
}

func (ta *testAgent) api(method, path, body string) (status int, answer string) {
	ta.t.Helper()
	resp, answer := ta.do(method, ta.control.URL+"/api/v1"+path, body, "Authorization", "Bearer "+ta.token)
	return resp.StatusCode, answer
}

func (ta *testAgent) do(method, url, body string, header ...string) (*http.Response, string) {
	ta.t.Helper()
	req, err := http.NewRequestWithContext(ta.t.Context(), method, url, strings.NewReader(body))
	require.NoError(ta.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(ta.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(ta.t, err)
	return resp, string(raw)
}

func (ta *testAgent) deploy(function, source string) {
	ta.t.Helper()
	status, answer := ta.api(http.MethodPut, "/apps/default/functions/"+function+"/code?create=true&deploy=true&wait=all", source)
	require.Contains(ta.t, []int{http.StatusOK, http.StatusCreated}, status, answer)
}

func (ta *testAgent) call(function string) (status int, body string) {
	ta.t.Helper()
	resp, body := ta.do(http.MethodGet, ta.functions.URL+"/fn/default/"+function, "")
	return resp.StatusCode, body
}

// testWriter sends the node's log to the test's.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(string(bytes.TrimSpace(p)))
	}
	return len(p), nil
}

const helloSource = `function handle(req) { return {hello: req.query.name ?? "world"} }`

func TestDeployAndCall(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("hello", helloSource)
	resp, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/hello?name=Ada", "", "Origin", "https://x.example")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.JSONEq(t, `{"hello":"Ada"}`, body)
	require.Equal(t, "v1", resp.Header.Get("X-PiCloud-Version"))
	require.Equal(t, "pi-1", resp.Header.Get("X-PiCloud-Node"))
	require.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"), "no CORS unless it is set")

	call := resp.Header.Get("X-Call-Id")
	status, record := a.api(http.MethodGet, "/invocations/"+call, "")
	require.Equal(t, http.StatusOK, status, record)
	var inv picloud.Invocation
	require.NoError(t, json.Unmarshal([]byte(record), &inv))
	require.Equal(t, "hello", inv.Function)
	require.Equal(t, http.StatusOK, inv.Status)
	require.Equal(t, picloud.Trigger(trigger.HTTP), inv.Trigger)
}

func TestUnknownFunctionAndPath(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	for path, code := range map[string]string{"/fn/default/nope": "PC1201", "/fn/": "PC1201", "/fn/x": "PC1201"} {
		resp, body := a.do(http.MethodGet, a.functions.URL+path, "")
		require.Equal(t, http.StatusNotFound, resp.StatusCode)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
		require.Contains(t, body, code)
		require.Equal(t, "platform", resp.Header.Get("X-PiCloud-Error"))
	}
	resp, _ := a.do(http.MethodGet, a.functions.URL+"/api/v1/apps", "")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Empty(t, resp.Header.Get("X-PiCloud-Error"), "not below /fn/: left to the next handler")
}

// TestSettingsAreAnsweredBeforeCodeRuns covers methods, CORS and body limits.
func TestSettingsAreAnsweredBeforeCodeRuns(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) { return {body: "ran " + req.method, headers: {"access-control-allow-origin": "https://evil.example"}} }`)
	status, answer := a.api(http.MethodPatch, "/apps/default/functions/f",
		`{"settings":{"methods":["GET","POST"],"limits":{"request_body":"1KiB"},"cors":{"origins":["https://a.example"]}}}`)
	require.Equal(t, http.StatusOK, status, answer)
	require.Eventually(t, func() bool {
		resp, _ := a.do(http.MethodPut, a.functions.URL+"/fn/default/f", "")
		return resp.StatusCode == http.StatusMethodNotAllowed
	}, 5*time.Second, 5*time.Millisecond, "settings reach the route table")

	resp, body := a.do(http.MethodDelete, a.functions.URL+"/fn/default/f", "")
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	require.Equal(t, "GET, HEAD, POST, OPTIONS", resp.Header.Get("Allow"))
	require.Contains(t, body, "PC1202")

	resp, body = a.do(http.MethodPost, a.functions.URL+"/fn/default/f", strings.Repeat("x", 1025))
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	require.Contains(t, body, "PC1209")
	resp, body = a.do(http.MethodPost, a.functions.URL+"/fn/default/f", strings.Repeat("x", 1024))
	require.Equal(t, http.StatusOK, resp.StatusCode, body)

	resp, _ = a.do(http.MethodOptions, a.functions.URL+"/fn/default/f", "", "Origin", "https://a.example", "Access-Control-Request-Method", "POST")
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Equal(t, "https://a.example", resp.Header.Get("Access-Control-Allow-Origin"))
	resp, body = a.do(http.MethodGet, a.functions.URL+"/fn/default/f", "", "Origin", "https://a.example")
	require.Equal(t, "ran GET", body)
	require.Equal(t, []string{"https://a.example"}, resp.Header.Values("Access-Control-Allow-Origin"), "the settings decide, not the code")
}

// TestAFunctionCannotActAsTheDashboard covers the session cookie, both ways.
func TestAFunctionCannotActAsTheDashboard(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) {
  return {status: 200, headers: {"set-cookie": "picloud_session=stolen", "x-cookie": req.headers["cookie"] ?? "none", "x-call-id": "forged"}, body: "x"}
}`)
	resp, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/f", "", "Cookie", "a=1; picloud_session=secret; b=2")
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	require.Equal(t, "a=1; b=2", resp.Header.Get("X-Cookie"))
	require.Empty(t, resp.Header.Values("Set-Cookie"))
	require.NotEqual(t, "forged", resp.Header.Get("X-Call-Id"))
	resp, _ = a.do(http.MethodGet, a.functions.URL+"/fn/default/f", "", "Cookie", "picloud_session=secret")
	require.Equal(t, "none", resp.Header.Get("X-Cookie"))
}

// TestFailuresAreTypedAndLogged: the caller learns the kind, the log the cause.
func TestFailuresAreTypedAndLogged(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	for name, c := range map[string]struct {
		source string
		status int
		code   string
		logged string
	}{
		"throws":    {`function handle(req) { throw "the secret cause" }`, 500, "PC1203", `"at":"throws.risor:1:30"`},
		"recursion": {"function f(n) { return f(n + 1) }\nfunction handle(req) { return f(0) }", 500, "PC1203", "trace"},
		"function":  {`function handle(req) { return handle }`, 500, "PC1207", `"at":"function.risor:1:`},
		"spin":      {"function handle(req) { range(1000000000).each(x => x)\n return 1 }", 504, "PC1204", "it ran longer than its timeout of 300ms: return earlier, or raise timeout"},
		"memory":    {`function handle(req) { return "x".repeat(4000000000) }`, 500, "PC1205", "went over its limit of 64MiB: hold less at once, or raise memory"},
	} {
		t.Run(name, func(t *testing.T) {
			a.deploy(name, c.source)
			status, answer := a.api(http.MethodPatch, "/apps/default/functions/"+name, `{"settings":{"limits":{"timeout":"300ms"}}}`)
			require.Equal(t, http.StatusOK, status, answer)
			require.Eventually(t, func() bool {
				ep := a.gateway.Endpoint(picloud.RouteKey{App: "default", Function: name})
				return ep != nil && ep.Function().Limits.Timeout == picloud.Duration(300*time.Millisecond)
			}, 5*time.Second, time.Millisecond)
			resp, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/"+name, "")
			require.Equal(t, c.status, resp.StatusCode, body)
			require.Contains(t, body, c.code)
			require.NotContains(t, body, "the secret cause", "callers are strangers")
			require.Equal(t, "function", resp.Header.Get("X-PiCloud-Error"))
			_, logged := a.api(http.MethodGet, "/apps/default/functions/"+name+"/logs", "")
			require.Contains(t, logged, c.logged)
			require.Equal(t, 1, strings.Count(logged, resp.Header.Get("X-Call-Id")), "once: %s", logged)
			require.Contains(t, logged, resp.Header.Get("X-Call-Id"))
			if name == "throws" {
				require.Contains(t, logged, "the secret cause")
			}
		})
	}
}

func TestRollbackAndDelete(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) { return "one" }`)
	a.deploy("f", `function handle(req) { return "two" }`)
	_, body := a.call("f")
	require.Equal(t, "two", body)
	status, answer := a.api(http.MethodPost, "/apps/default/functions/f/rollback?wait=all", `{}`)
	require.Equal(t, http.StatusCreated, status, answer)
	_, body = a.call("f")
	require.Equal(t, "one", body)
	status, answer = a.api(http.MethodDelete, "/apps/default/functions/f", "")
	require.Equal(t, http.StatusNoContent, status, answer)
	require.Eventually(t, func() bool { status, _ := a.call("f"); return status == http.StatusNotFound }, 5*time.Second, time.Millisecond)
}

// TestTwoNodesOnOneDatabase: a deploy at one is served by both when it returns.
func TestTwoNodesOnOneDatabase(t *testing.T) {
	dsn := testdb.DSN(t)
	a := startAgent(t, testdb.Dir(t), dsn, onPorts(t)).ready()
	stranger := startAgent(t, testdb.Dir(t), dsn, named("pi-3"))
	b := a.joined("pi-2")
	for i := range 5 {
		want := fmt.Sprintf("version %d", i)
		status, answer := a.api(http.MethodPut, "/apps/default/functions/f/code?create=true&deploy=true&wait=all",
			fmt.Sprintf("function handle(req) { return %q }", want))
		require.Equal(t, http.StatusCreated, status, answer)
		var got struct {
			Acks struct {
				Nodes    []string
				Complete bool
			}
		}
		require.NoError(t, json.Unmarshal([]byte(answer), &got))
		require.True(t, got.Acks.Complete, answer)
		require.Len(t, got.Acks.Nodes, 2)
		_, body := b.call("f")
		require.Equal(t, want, body)
	}
	require.Eventually(t, func() bool { return stranger.database.closed() != nil && stranger.waitsFor() == picloud.CodeNotInvited }, 10*time.Second, time.Millisecond)
	require.ErrorContains(t, stranger.database.closed(), "pi-1")
}

// waitsFor is the code of what keeps a node from its database.
func (ta *testAgent) waitsFor() picloud.Code {
	ta.database.mu.Lock()
	defer ta.database.mu.Unlock()
	return picloud.CodeOf(ta.database.waiting)
}

// TestRestartWithoutDatabase serves from disk what was acknowledged before.
func TestRestartWithoutDatabase(t *testing.T) {
	dir := testdb.Dir(t)
	a := startAgent(t, dir, testdb.DSN(t)).ready()
	a.deploy("hello", helloSource)
	a.Stop()
	b := startAgent(t, dir, "postgres://nobody@127.0.0.1:1/none")
	select {
	case <-b.Ready():
	default:
		t.Fatal("a node with a disk copy is ready when Start returns")
	}
	status, body := b.call("hello")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"hello":"world"}`, body)
	resp, body := b.do(http.MethodGet, b.control.URL+"/api/v1/apps", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, body)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	resp, _ = b.do(http.MethodGet, b.control.URL+"/readyz", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// TestALostDatabaseIsNoticedAtOnce: the gauge does not wait for the next comparison.
func TestALostDatabaseIsNoticedAtOnce(t *testing.T) {
	server := testdb.Server(t)
	a := startAgent(t, testdb.Dir(t), server.DSN()).ready()
	up := func() float64 {
		return sample(t, a.Agent, "picloud_database_up")
	}
	require.Eventually(t, func() bool { return up() == 1 }, 10*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, server.Stop(ctx))
	require.Eventually(t, func() bool { return up() == 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, server.Start(ctx))
	require.Eventually(t, func() bool { return up() == 1 }, 30*time.Second, time.Millisecond)
}

// TestASecondNodeDoesNotMakeASecondAdmin: the first run's token is one per database.
func TestASecondNodeDoesNotMakeASecondAdmin(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	b := a.joined("pi-2")
	require.NoFileExists(t, filepath.Join(b.opts.DataDir, "credentials"))
	require.NoFileExists(t, filepath.Join(b.opts.DataDir, "credentials.new"))
}

// stop ends a database server.
func stop(t *testing.T, server interface{ Stop(context.Context) error }) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, server.Stop(ctx))
}
