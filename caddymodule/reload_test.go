package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/internal/testenv"
	"github.com/picloud/picloud/internal/testworker"
)

// testNode is a whole node inside the test's process: Caddy with the embedded
// Caddyfile, managed PostgreSQL, executors.
type testNode struct {
	functions, control, https, token, socket string
	config                                   []byte
}

// startNode brings a node up and stops it when the test ends.
func startNode(t *testing.T) *testNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "picloud-caddy-") // t.TempDir is closed to PostgreSQL's uid
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o711))
	n := &testNode{}
	ports := freePorts(t, 3)
	n.functions, n.https, n.control = "http://127.0.0.1:"+ports[0], ports[1], "http://127.0.0.1:"+ports[2]
	h, err := environment{values: map[string]string{
		"data": filepath.Join(dir, "data"), "node_name": "pi-1", "bind": "127.0.0.1", "executor": testworker.Path(t),
		"http_port": ports[0], "https_port": ports[1], "admin_port": ports[2],
	}}.home()
	require.NoError(t, err)
	n.socket = h.socket
	require.NoError(t, h.prepare())
	t.Setenv("XDG_DATA_HOME", os.Getenv("XDG_DATA_HOME")) // furnish sets it: give it back
	require.NoError(t, h.furnish())
	n.config, err = h.config()
	require.NoError(t, err)
	require.NoError(t, caddy.Load(n.config, true))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	select {
	case <-activeNode().Ready():
	case err := <-activeNode().Fatal():
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the node did not become ready")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "data", "credentials"))
	require.NoError(t, err)
	var credentials struct{ Token string }
	require.NoError(t, json.Unmarshal(raw, &credentials))
	n.token = credentials.Token
	return n
}

// freePorts finds ports that nobody uses; all are held until the last is found.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// do makes a request of the control API and returns the answer.
func (n *testNode) do(t *testing.T, method, path, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, n.control+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+n.token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(raw)
}

func (n *testNode) deploy(t *testing.T, function, source string) {
	t.Helper()
	status, answer := n.do(t, http.MethodPut, "/api/v1/apps/default/functions/"+function+"/code?create=true&deploy=true&wait=all", source)
	require.Equal(t, http.StatusCreated, status, answer)
}

func TestMain(m *testing.M) {
	testenv.Clear()
	goleak.VerifyTestMain(m,
		// Caddy keeps these for the life of the process.
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).permit"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/caddy/v2.replaceLocalAdminServer.func2"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}

// TestReloadChangesNothingOfTheRuntime holds the promise that Caddy reloads,
// failing ones among them, drop no request and restart nothing.
func TestReloadChangesNothingOfTheRuntime(t *testing.T) {
	n := startNode(t)
	n.deploy(t, "hello", `function handle(req) { return {hello: req.query.name ?? "world"} }`)
	node := activeNode()
	before := metric(t, n, "picloud_invocations_total")

	ctx, cancel := context.WithCancel(t.Context())
	var calls, failures atomic.Int64
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				want := fmt.Sprintf(`{"hello":"%d-%d"}`, i, calls.Add(1))
				name := strings.TrimSuffix(strings.TrimPrefix(want, `{"hello":"`), `"}`)
				// Clients repeat a GET on a new connection, but never a POST.
				method := []string{http.MethodGet, http.MethodPost}[i%2]
				req, err := http.NewRequest(method, n.functions+"/fn/default/hello?name="+name, nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					failures.Add(1)
					t.Errorf("request during reloads: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || string(body) != want {
					failures.Add(1)
					t.Errorf("request during reloads: status %d, body %q, want %q, error %v", resp.StatusCode, body, want, err)
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return calls.Load() > 20 }, 10*time.Second, time.Millisecond)
	started := executors(t)
	require.NotEmpty(t, started, "started by the first call")

	for i := range 50 {
		switch i % 5 {
		case 2: // one that fails before it holds the runtime: its Cleanup must not let go of ours
			broken := strings.Replace(string(n.config), `"admin_port":"`, `"admin_port":"x`, 1)
			require.NotEqual(t, string(n.config), broken)
			require.ErrorContains(t, caddy.Load([]byte(broken), true), "not a port")
		case 3: // one that changes a hard setting
			changed := strings.Replace(string(n.config), `"node_name":"pi-1"`, `"node_name":"pi-2"`, 1)
			require.NotEqual(t, string(n.config), changed)
			require.ErrorContains(t, caddy.Load([]byte(changed), true), "picloud: node_name changed; a reload cannot apply that: restart required")
		case 4: // one that fails after our app is provisioned
			broken := strings.Replace(string(n.config), `"apps":{`, `"apps":{"no_such_app":{},`, 1)
			require.Error(t, caddy.Load([]byte(broken), true))
		default:
			require.NoError(t, caddy.Load(n.config, true))
		}
		done := calls.Load()
		require.Eventually(t, func() bool { return calls.Load() > done+4 || failures.Load() > 0 }, 10*time.Second, time.Millisecond)
	}
	cancel()
	callers.Wait()
	require.Zero(t, failures.Load(), "of %d requests", calls.Load())
	require.Same(t, node, activeNode(), "the same runtime")
	require.Subset(t, executors(t), started, "no executor was restarted")
	require.GreaterOrEqual(t, metric(t, n, "picloud_invocations_total"), before+float64(calls.Load())-4, "counters go on")
}

// executors lists the child processes of the test that are not PostgreSQL's.
func executors(t *testing.T) []int {
	t.Helper()
	var out []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		text := string(raw)
		open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
		fields := strings.Fields(text[end+1:])
		pid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
		require.NoError(t, err)
		if !strings.HasPrefix(text[open+1:end], "postgres") && fields[1] == strconv.Itoa(os.Getpid()) && fields[0] != "Z" {
			out = append(out, pid)
		}
	}
	return out
}

// metric sums the samples of a metric as /metrics shows it.
func metric(t *testing.T, n *testNode, name string) float64 {
	t.Helper()
	status, text := n.do(t, http.MethodGet, "/metrics", "")
	require.Equal(t, http.StatusOK, status)
	sum := 0.0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			fields := strings.Fields(line)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			require.NoError(t, err)
			sum += v
		}
	}
	return sum
}

// TestAdminIsNeverOpenToTheMachine: a configuration of one's own need not say
// where Caddy's admin API listens.
func TestAdminIsNeverOpenToTheMachine(t *testing.T) {
	n := startNode(t)
	var config map[string]any
	require.NoError(t, json.Unmarshal(n.config, &config))
	delete(config, "admin")
	silent, err := json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, caddy.Load(silent, true))

	_, err = net.Dial("tcp", "localhost:2019")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	info, err := os.Stat(n.socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	conn, err := net.Dial("unix", n.socket)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}
