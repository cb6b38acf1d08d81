package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"
)

// hostileTargets are ways to write a path so that its readers come to different
// places: one to "open", or to what no rule is about, the other to "secret".
func hostileTargets() (targets []string) {
	add := func(format string, args ...any) { targets = append(targets, fmt.Sprintf(format, args...)) }
	for _, dots := range []string{"..", "%2e%2E", ".%2e", ".", "..;", "..%00", "%252e%252e", "%c0%ae%c0%ae"} {
		for _, sep := range []string{"/", "%2f", `\`, "%5C", "//", "%252f"} {
			add("/fn/default/secret%s%s%sopen", sep, dots, sep)
			add("/fn/default/secret%s%s%sopen/", sep, dots, sep)
			add("/fn/default/open%s%s%ssecret", sep, dots, sep)
			add("/fn/default/secret/x%s%s%s%s%sopen", sep, dots, sep, dots, sep)
			add("/fn/default/open/x%s%s%s%s%ssecret/x", sep, dots, sep, dots, sep)
			add("/x%s%s%sfn/default/secret", sep, dots, sep)
			add("/fn%sdefault%s%s%sdefault%ssecret", sep, sep, dots, sep, sep)
			add("/api%s%s%ssecret", sep, dots, sep)
			add("/api/x%s%s%s%s%ssecret", sep, dots, sep, dots, sep)
			add("/fn/default/shop%s%s%sshop/admin/x", sep, dots, sep)
			add("/fn/default/shop/public%s%s%sadmin/x", sep, dots, sep)
			add("/fn/default/shop/admin%s%s%sadmin/x", sep, dots, sep)
			add("/fn/default/shop/admin/x%s%s%s%s%spublic", sep, dots, sep, dots, sep)
		}
	}
	for _, path := range []string{"/fn/default/secret", "/fn/default/shop/admin/x"} {
		for i := 1; i < len(path); i++ {
			add("%s%%%02x%s", path[:i], path[i], path[i+1:]) // one character is encoded
			add("%s%%25%02x%s", path[:i], path[i], path[i+1:])
			if path[i] == '/' {
				add("%s//%s", path[:i], path[i+1:])
				add("%s%%2f%s", path[:i], path[i+1:])
				add("%s\\%s", path[:i], path[i+1:])
				add("%s%%5c%s", path[:i], path[i+1:])
				add("%s;x/%s", path[:i], path[i+1:])
			}
		}
		for _, end := range []string{"", "/", "//", "/.", "%20", "%00", ".", ";x", "?x", "%3f", "#x", "%23", "%0a", "%0d%0ax", "%09", "/%2e", "/x%2f..", "~", "*", ":", "%ff"} {
			targets = append(targets, path+end, strings.ToUpper(path)+end, "/"+path+end, "http://x"+path+end, "http://x/"+path+end)
		}
	}
	return targets
}

// TestNoRuleIsWalkedPast: with Caddy's rules in front, in one configuration and as a
// proxy, and with nginx, no protected function runs without credentials, however its
// path is written.
func TestNoRuleIsWalkedPast(t *testing.T) {
	n := startNode(t)
	n.deploy(t, "secret", `function handle(req) { return "ran what is closed: " + req.path }`)
	n.deploy(t, "open", `function handle(req) { return "ran what is open: " + req.path }`)
	n.deploy(t, "shop", `function handle(req) { return (if (req.route == "/admin/{what}") { "ran what is closed:" } else { "ran what is open:" }) + " " + req.path }`)
	status, answer := n.do(t, http.MethodPatch, "/api/v1/apps/default/functions/shop", `{"settings":{"routes":["/admin/{what}","/{rest...}"]}}`)
	require.Equal(t, http.StatusOK, status, answer)

	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pass, _ := r.BasicAuth(); pass != "lovelace" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(guard.Close)
	const hash = "$2a$04$DWcnZYngvvR7Wu3hmulyhu908z4/fxKyWhg9bfuMbGLhQOr2ucVa6" // of lovelace, the cheapest there is
	node, auth := strings.TrimPrefix(n.functions, "http://"), "basic_auth %s {\n ada "+hash+"\n}\n"

	rules := map[string]string{
		"basic_auth by path": fmt.Sprintf(auth, "/fn/default/secret*") + fmt.Sprintf(auth, "/fn/default/shop/admin/*") + "picloud",
		"basic_auth but for": "@closed not path /fn/default/open*\n" + fmt.Sprintf(auth, "@closed") + "picloud",
		"respond":            "@closed path /fn/default/secret* /fn/default/shop/admin/*\nrespond @closed 403\npicloud",
		"handle and proxy":   "handle /fn/default/secret* {\nrespond 403\n}\nhandle /fn/default/shop/admin/* {\nrespond 403\n}\nhandle {\nreverse_proxy " + node + "\n}",
		"handle of one":      "handle /fn/default/open* {\nreverse_proxy " + node + "\n}\nhandle {\nrespond 403\n}",
		"handle of one here": "handle /fn/default/open* {\npicloud\n}\nhandle {\nrespond 403\n}",
		"forward_auth": "@closed path /fn/default/secret* /fn/default/shop/admin/*\nforward_auth @closed " + strings.TrimPrefix(guard.URL, "http://") +
			" {\nuri /\n}\npicloud",
		"handle_path":        "handle_path /api/* {\nrewrite * /fn/default/open{path}\npicloud\n}\nhandle {\nrespond 403\n}",
		"handle_path, proxy": "handle_path /api/* {\nrewrite * /fn/default/open{path}\nreverse_proxy " + node + "\n}\nhandle {\nrespond 403\n}",
		"regular expression": "@closed path_regexp ^/fn/default/(secret|shop/admin)(/.*)?$\nrespond @closed 403\npicloud",
		"uri strip_prefix":   "@api path /api/*\nroute @api {\nuri strip_prefix /api\nrewrite * /fn/default/open{uri}\npicloud\n}\nrespond 403",
	}
	sites := n.addSites(t, rules)
	for name, address := range startNginx(t, node) {
		sites["nginx, "+name] = address
	}
	for name, address := range sites {
		t.Run(name, func(t *testing.T) {
			for _, target := range hostileTargets() {
				status, body := send(t, address, target)
				require.NotContains(t, body, "ran what is closed", "%s: %d", target, status)
			}
		})
	}
	for _, name := range []string{"basic_auth by path", "basic_auth but for", "forward_auth", "nginx, auth_basic"} {
		for path, want := range map[string]string{"/fn/default/secret/a": "ran what is closed: /a", "/fn/default/shop/admin/x": "ran what is closed: /admin/x"} {
			_, body := send(t, sites[name], path, "Authorization", "Basic YWRhOmxvdmVsYWNl")
			require.Equal(t, want, body, "%s: the function runs for those who may", name)
		}
	}
}

// TestBasesBehindRules: what a function gets to know of its own place.
func TestBasesBehindRules(t *testing.T) {
	n := startNode(t)
	n.deploy(t, "f", `function handle(req) { return req.base + " " + req.path + " " + req.raw_path }`)
	node := strings.TrimPrefix(n.functions, "http://")
	sites := n.addSites(t, map[string]string{
		"plain":       "picloud",
		"handle_path": "handle_path /api/* {\nrewrite * /fn/default/f{path}\npicloud\n}",
		"root":        "rewrite * /fn/default/f{uri}\npicloud",
		"proxy":       "handle_path /shop/* {\nreverse_proxy " + node + " {\nheader_up X-Forwarded-Prefix /shop\n}\n}",
	})
	for request, want := range map[string]string{
		"plain /fn/default/f/a%2Fb":  "/fn/default/f /a/b /a%2Fb",
		"plain /fn/default/f":        "/fn/default/f / /",
		"handle_path /api/a/b?x=1":   "/api /a/b /a/b",
		"handle_path /api/a%2Fb":     "/api /a/b /a%2Fb",
		"handle_path /api/":          "/api / /",
		"root /":                     " / /",
		"root /a%20b?x=/":            " /a b /a%20b",
		"root //evil.example/x":      "/fn/default/f //evil.example/x //evil.example/x",
		"root /%2Fevil.example":      "/fn/default/f //evil.example /%2Fevil.example",
		"root /%5cevil.example":      "/fn/default/f /\\evil.example /%5cevil.example",
		"proxy /shop/fn/default/f/x": "/fn/default/f /x /x", // nobody is trusted
	} {
		site, target, _ := strings.Cut(request, " ")
		status, body := send(t, sites[site], target, "X-Forwarded-Prefix", "/evil")
		require.Equal(t, http.StatusOK, status, request)
		require.Equal(t, want, body, request)
	}
	trusting := n.addSites(t, map[string]string{"trusting": "picloud"}, "trusted_proxies static 127.0.0.1/32")
	_, body := send(t, trusting["trusting"], "/fn/default/f/x", "X-Forwarded-Prefix", "/shop")
	require.Equal(t, "/shop/fn/default/f /x /x", body)
	_, body = send(t, trusting["trusting"], "/fn/default/f/x", "X-Forwarded-Prefix", "//evil.example")
	require.Equal(t, "/fn/default/f /x /x", body)
}

// addSites reloads the node with sites of a Caddyfile beside its own, and returns
// their addresses by name.
func (n *testNode) addSites(t *testing.T, sites map[string]string, options ...string) map[string]string {
	t.Helper()
	names := slices.Sorted(maps.Keys(sites))
	ports := freePorts(t, len(names))
	addresses := map[string]string{}
	text := "{\nauto_https off\nservers {\nprotocols h1\n" + strings.Join(options, "\n") + "\n}\n}\n"
	for i, name := range names {
		addresses[name] = "127.0.0.1:" + ports[i]
		text += "http://:" + ports[i] + " {\nbind 127.0.0.1\n" + sites[name] + "\n}\n"
	}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	require.NoError(t, err, text)
	servers := func(config []byte) (tree, servers map[string]any) {
		require.NoError(t, json.Unmarshal(config, &tree))
		return tree, tree["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any)
	}
	tree, all := servers(n.config)
	_, more := servers(adapted)
	for name, server := range more {
		all["more-"+name] = server
	}
	config, err := json.Marshal(tree)
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	return addresses
}

// startNginx starts Debian's nginx with rules in front of a node, and returns the
// addresses of its servers.
func startNginx(t *testing.T, node string) map[string]string {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not in the path of everybody
	}
	require.FileExists(t, program, "`make setup-test` installs it")
	dir := t.TempDir()
	ports := freePorts(t, 3)
	// The password is "lovelace".
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users"), []byte("ada:{PLAIN}lovelace\n"), 0o644))
	closed := "auth_basic closed; auth_basic_user_file \"" + dir + "/users\";"
	pass := "proxy_pass http://" + node + ";"
	config := "pid \"" + dir + "/pid\"; error_log stderr; worker_processes 1; daemon off; master_process off;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path \"" + dir + "/" + kind + "\";\n"
	}
	for i, locations := range []string{
		"location /fn/default/secret { " + closed + pass + " }\nlocation /fn/default/shop/admin/ { " + closed + pass + " }\nlocation / { " + pass + " }",
		"location / { " + closed + pass + " }\nlocation /fn/default/open { " + pass + " }",
		"location /api/ { proxy_pass http://" + node + "/fn/default/open/; }\nlocation / { return 403; }",
	} {
		config += "server {\nlisten 127.0.0.1:" + ports[i] + ";\n" + locations + "\n}\n"
	}
	path := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(path, []byte(config+"}\n"), 0o644))
	cmd := exec.CommandContext(t.Context(), program, "-p", dir, "-e", "stderr", "-c", path)
	var output strings.Builder
	cmd.Stderr = &output
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://127.0.0.1:" + ports[2] + "/")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	}, 20*time.Second, 10*time.Millisecond, "nginx does not answer: %s", &output)
	return map[string]string{"auth_basic": "127.0.0.1:" + ports[0], "auth_basic but for": "127.0.0.1:" + ports[1], "proxy_pass of one": "127.0.0.1:" + ports[2]}
}

// send makes a request whose target no client library changes.
func send(t *testing.T, address, target string, header ...string) (status int, body string) {
	t.Helper()
	conn := dial(t, address)
	defer conn.Close()
	lines := ""
	for i := 0; i < len(header); i += 2 {
		lines += header[i] + ": " + header[i+1] + "\r\n"
	}
	_, err := io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+lines+"\r\n")
	require.NoError(t, err)
	resp := answer(t, conn)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(raw)
}
