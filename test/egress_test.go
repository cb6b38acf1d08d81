package test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNoFunctionReachesItsNode: whatever its rules say, and whatever ports the
// configuration opens, on every address of the machine.
func TestNoFunctionReachesItsNode(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "another service") }))
	defer other.Close()
	n := newNode(t)
	admin, site := freePort(t), freePort(t)
	config, stderr, code := n.cli("config", "show")
	require.Zero(t, code, stderr)
	require.Contains(t, config, "admin unix/{$PICLOUD_ADMIN_SOCKET}|0600")
	config = strings.Replace(config, "admin unix/{$PICLOUD_ADMIN_SOCKET}|0600", fmt.Sprintf("admin 127.0.0.1:%d", admin), 1)
	config += fmt.Sprintf("\nhttp://127.0.0.1:%d {\n\trespond \"a site of the Caddyfile\"\n}\n", site)
	path := filepath.Join(n.dir, "Caddyfile.test")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o644))
	n.start("--config", path)
	n.awaitDatabase()
	n.deploy("f", `function handle(req) { try { return http.get(req.query.url, {timeout: "5s"}).text() } catch e { return e.code + ": " + e.message() } }`)

	rules, hosts := []string{"127.0.0.0/8", "::1", "0.0.0.0", "::", "*"}, []string{"127.0.0.1", "127.8.9.1", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "localhost"}
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addrs {
		if p := netip.MustParsePrefix(a.String()); p.Addr().Is4() && !p.Addr().IsLoopback() {
			rules, hosts = append(rules, p.Addr().String()), append(hosts, p.Addr().String())
		}
	}
	status, answer := n.api(http.MethodPatch, "/apps/default/functions/f", `{"settings":{"limits":{"host_calls":1000,"outbound_calls":1000},"egress":["`+strings.Join(rules, `","`)+`"]}}`)
	require.Equal(t, http.StatusOK, status, answer)
	fetch := func(to string) string {
		_, body, err := n.get(n.functions + "/fn/default/f?url=" + url.QueryEscape(to))
		require.NoError(t, err)
		return body
	}
	var got string
	n.await("the rules", 5*time.Second, func() bool { got = fetch(other.URL); return got == "another service" })
	ports := map[string]string{"caddy's admin": fmt.Sprint(admin), "a site": fmt.Sprint(site)}
	for _, env := range n.env {
		if name, value, _ := strings.Cut(env, "="); strings.HasSuffix(name, "_PORT") {
			ports[name] = value
		}
	}
	require.Len(t, ports, 7)
	for name, port := range ports {
		for _, host := range hosts {
			got := fetch("http://" + host + ":" + port + "/config/")
			require.True(t, strings.HasPrefix(got, "egress_denied: "), "%s at %s:%s: %s", name, host, port, got)
		}
	}
}

// freePort is one that nobody listened on a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
