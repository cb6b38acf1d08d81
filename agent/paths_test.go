package agent

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// raw sends a request whose target no client library changes.
func (ta *testAgent) raw(method, target string, header ...string) (*http.Response, string) {
	ta.t.Helper()
	address := strings.TrimPrefix(ta.functions.URL, "http://")
	conn, err := net.Dial("tcp", address)
	require.NoError(ta.t, err)
	defer conn.Close()
	require.NoError(ta.t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	var lines strings.Builder
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&lines, "%s: %s\r\n", header[i], header[i+1])
	}
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: pi.example\r\nConnection: close\r\n%s\r\n", method, target, lines.String())
	require.NoError(ta.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(ta.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(ta.t, err)
	return resp, string(body)
}

// set changes the settings of a function and returns what the API said.
func (ta *testAgent) set(function, settings string) (status int, answer string) {
	ta.t.Helper()
	return ta.api(http.MethodPatch, "/apps/default/functions/"+function, `{"settings":`+settings+`}`)
}

// echoPath answers what a script sees of the path.
const echoPath = `function handle(req) {
    return {path: req.path, raw: req.raw_path, base: req.base, route: req.route, params: req.params.copy()}
}`

type seen struct {
	Path, Raw, Base, Route string
	Params                 map[string]string
}

func TestOneReadingOfAPath(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("echo", echoPath)
	for target, want := range map[string]seen{
		"/fn/default/echo":                  {Path: "/", Raw: "/"},
		"/fn/default/echo/":                 {Path: "/", Raw: "/"},
		"/fn/default/echo/a%2Fb":            {Path: "/a/b", Raw: "/a%2Fb"},
		"/fn/default/echo/a%252Fb":          {Path: "/a%2Fb", Raw: "/a%252Fb"},
		"/fn/default/echo//a//":             {Path: "//a//", Raw: "//a//"},
		"/fn/default/echo/caf%c3%a9%20x+y":  {Path: "/café x+y", Raw: "/caf%c3%a9%20x+y"},
		"/fn/default/echo/a%5Cb;v=1/..x/.y": {Path: `/a\b;v=1/..x/.y`, Raw: "/a%5Cb;v=1/..x/.y"},
		"/fn/default/echo/%61?x=../..":      {Path: "/a", Raw: "/%61"},
	} {
		resp, body := a.raw("GET", target)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", target, body)
		var got seen
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		want.Base, want.Params = "/fn/default/echo", map[string]string{}
		require.Equal(t, want, got, target)
	}
	for target, code := range map[string]string{
		"/fn/default/echo/../x": "PC1216", "/fn/default/echo/%2e%2e/x": "PC1216", "/fn/default/echo%2F..%2Fz": "PC1216", "/fn/default/echo/.%2E/x": "PC1216",
		"/fn/default/echo/.": "PC1216", "/fn/default/x/../echo": "PC1216", "/x/../fn/default/echo": "PC1216", "/x/%2e%2e/fn/default/echo": "PC1216",
		"/fn/default/echo/a%5c..%5cb": "PC1216", "/fn/default/echo/%00": "PC1216", "/fn/default/echo/%0d%0aa": "PC1216", "/fn/default/echo/%ff": "PC1216",
		"/fn/default/echo/%c0%ae%c0%ae/": "PC1216",
		"/fn/default%2Fecho":             "PC1201", "/fn%2Fdefault/echo": "", "/%66n/default/echo": "", "/fn/default/%65cho": "PC1201", "/fn//default/echo": "PC1201",
		"//fn/default/echo": "", "/fn/default/ECHO": "PC1201", "/fn/default/echo;x": "PC1201", "/fn/default/echo%20": "PC1201",
	} {
		resp, body := a.raw("GET", target)
		want := http.StatusNotFound
		if code == "PC1216" {
			want = http.StatusBadRequest
		}
		require.Equal(t, want, resp.StatusCode, "%s: %s", target, body)
		require.Contains(t, body, code, target)
		require.Empty(t, resp.Header.Get("X-PiCloud-Version"), "%s: no function ran", target)
	}
}

func TestRoutesDecideBeforeCodeRuns(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("shop", echoPath)
	status, answer := a.set("shop", `{"routes":["GET /items/{id}","/{x}/7"]}`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer, `both match GET /items/7, and neither is the more specific one`)
	status, answer = a.set("shop", `{"routes":["GET /items/{id}","POST /items","/files/{path...}","GET /"],"cors":{"origins":["https://a.example"]}}`)
	require.Equal(t, http.StatusOK, status, answer)

	for target, want := range map[string]seen{
		"GET /items/a%2Fb":   {Path: "/items/a/b", Raw: "/items/a%2Fb", Route: "GET /items/{id}", Params: map[string]string{"id": "a/b"}},
		"POST /items":        {Path: "/items", Raw: "/items", Route: "POST /items", Params: map[string]string{}},
		"PUT /files/x/y%20z": {Path: "/files/x/y z", Raw: "/files/x/y%20z", Route: "/files/{path...}", Params: map[string]string{"path": "x/y z"}},
		"GET ":               {Path: "/", Raw: "/", Route: "GET /", Params: map[string]string{}},
	} {
		method, path, _ := strings.Cut(target, " ")
		resp, body := a.raw(method, "/fn/default/shop"+path)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", target, body)
		var got seen
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		want.Base = "/fn/default/shop"
		require.Equal(t, want, got, target)
	}
	resp, _ := a.raw("HEAD", "/fn/default/shop/items/1")
	require.Equal(t, http.StatusOK, resp.StatusCode, "HEAD follows GET")
	require.Positive(t, resp.ContentLength, "the length of the body that GET has")

	resp, body := a.raw("DELETE", "/fn/default/shop/items/1", "Origin", "https://a.example")
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	require.Equal(t, "GET, HEAD, OPTIONS", resp.Header.Get("Allow"))
	require.Contains(t, body, "PC1202")
	require.Equal(t, "https://a.example", resp.Header.Get("Access-Control-Allow-Origin"), "a page can read why")
	resp, body = a.raw("GET", "/fn/default/shop/nope", "Origin", "https://a.example")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Contains(t, body, "PC1217")
	require.Equal(t, "https://a.example", resp.Header.Get("Access-Control-Allow-Origin"))
	resp, _ = a.raw("OPTIONS", "/fn/default/shop/items")
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Equal(t, "POST, OPTIONS", resp.Header.Get("Allow"))
	for request, want := range map[string]string{"POST /items": "POST", "GET /items": "", "PUT /files/x": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", "PUT /nope": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"} {
		method, path, _ := strings.Cut(request, " ")
		resp, _ = a.raw("OPTIONS", "/fn/default/shop"+path, "Origin", "https://a.example", "Access-Control-Request-Method", method)
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
		require.Equal(t, want, resp.Header.Get("Access-Control-Allow-Methods"), request)
	}
	resp, _ = a.raw("GET", "/fn/default/shop/files?a=1")
	require.Equal(t, http.StatusPermanentRedirect, resp.StatusCode, "only the path with a slash is a route")
	require.Equal(t, "/fn/default/shop/files/?a=1", resp.Header.Get("Location"))
}

// TestPagesStandBehindASlash: a page's relative links need it, other clients do not.
func TestPagesStandBehindASlash(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("site", `function handle(req) { return {headers: {"content-type": "text/html"}, body: "<a href=x>"} }`)
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	for _, method := range []string{"GET", "HEAD"} {
		resp, _ := a.raw(method, "/fn/default/site?q=1%202", "Accept", browser)
		require.Equal(t, http.StatusPermanentRedirect, resp.StatusCode)
		require.Equal(t, "/fn/default/site/?q=1%202", resp.Header.Get("Location"))
		require.Equal(t, "Accept", resp.Header.Get("Vary"))
	}
	for _, c := range [][3]string{{"GET", "/fn/default/site", "*/*"}, {"POST", "/fn/default/site", browser}, {"GET", "/fn/default/site/", browser}, {"GET", "/fn/default/site/x", browser}} {
		resp, body := a.raw(c[0], c[1], "Accept", c[2])
		require.Equal(t, http.StatusOK, resp.StatusCode, c)
		require.Equal(t, "<a href=x>", body)
	}
}

func TestHeadSaysNoLengthThatGetHasNot(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("hd", `function handle(req) {
    if (req.method == "HEAD") { return {status: 200, headers: {"content-type": "text/plain"}} }
    return {body: "x".repeat(1000)}
}`)
	a.deploy("same", `function handle(req) { return {body: "x".repeat(1000)} }`)
	resp, _ := a.raw("HEAD", "/fn/default/hd")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Empty(t, resp.Header.Values("Content-Length"))
	resp, _ = a.raw("HEAD", "/fn/default/same")
	require.Equal(t, "1000", resp.Header.Get("Content-Length"))
	resp, _ = a.raw("GET", "/fn/default/hd")
	require.Equal(t, "1000", resp.Header.Get("Content-Length"))
}
