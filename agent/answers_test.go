package agent

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

// rawServer answers each path with the bytes that it has for it, and closes.
func rawServer(t *testing.T, answers map[string]string) net.Listener {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte(answer))
	}))
	t.Cleanup(s.Close)
	return s.Listener
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// An upstream's answer reaches the caller as it is, however it was framed.
func TestAnswersArePassedOn(t *testing.T) {
	const kept = "Content-Type: text/plain\r\nDate: Wed, 09 Jun 2021 10:18:14 GMT\r\nSet-Cookie: a=1; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT\r\nSet-Cookie: b=2; Path=/; HttpOnly\r\n" +
		"Set-Cookie: picloud_session=stolen\r\nWWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: Bearer\r\nX-Name: b\xe4r\r\n"
	packed := zipped("hello")
	upstream := rawServer(t, map[string]string{
		"GET /length":  "HTTP/1.1 201 Created\r\n" + kept + "Content-Length: 5\r\n\r\nhello",
		"GET /chunked": "HTTP/1.1 201 Created\r\n" + kept + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
		"GET /close":   "HTTP/1.1 201 Created\r\n" + kept + "Connection: close\r\n\r\nhello",
		"GET /named":   "HTTP/1.1 201 Created\r\n" + kept + "Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nContent-Length: 5\r\n\r\nhello",
		"GET /gzip":    fmt.Sprintf("HTTP/1.1 201 Created\r\n%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", kept, len(packed), packed),
		"GET /empty":   "HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\nConnection: close\r\n\r\n",
		"HEAD /length": "HTTP/1.1 200 OK\r\n" + kept + "Content-Length: 1000\r\n\r\n",
	})
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	scripts := map[string]string{
		"asis":   `{status: r.status, headers: r.headers, body: r.body}`,
		"copy":   `{status: r.status, headers: r.headers.copy(), body: r.body}`,
		"spread": `{status: r.status, headers: {...r.headers}, body: r.text()}`,
	}
	for name, answer := range scripts {
		a.deploy(name, fmt.Sprintf("function handle(req) {\n let r = http.fetch(%q + req.path, {method: req.method})\n return %s\n}", "http://"+upstream.Addr().String(), answer))
		a.settings(name, picloud.Settings{Egress: []string{upstream.Addr().String()}})
		for _, path := range []string{"/length", "/chunked", "/close", "/named", "/gzip"} {
			resp, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/"+name+path, "")
			require.Equal(t, http.StatusCreated, resp.StatusCode, "%s%s: %s", name, path, body)
			require.Equal(t, "hello", body)
			require.Equal(t, []string{"a=1; Path=/; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "b=2; Path=/; HttpOnly"}, resp.Header.Values("Set-Cookie"), path)
			require.Equal(t, "Wed, 09 Jun 2021 10:18:14 GMT", resp.Header.Get("Date"))
			require.Equal(t, "5", resp.Header.Get("Content-Length"))
			require.True(t, strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain"))
			for _, hop := range []string{"X-Hop", "Keep-Alive", "Trailer", "Content-Encoding", "X-Sum"} {
				require.Empty(t, resp.Header.Get(hop), path)
			}
			if name == "asis" {
				require.Equal(t, []string{`Basic realm="x"`, "Bearer"}, resp.Header.Values("Www-Authenticate"))
				require.Equal(t, "b\xe4r", resp.Header.Get("X-Name"), "byte by byte")
			}
		}
		resp, _ := a.do(http.MethodGet, a.functions.URL+"/fn/default/"+name+"/empty", "")
		require.Equal(t, http.StatusNoContent, resp.StatusCode)
		require.Equal(t, "a=1", resp.Header.Get("Set-Cookie"))
		require.Empty(t, resp.Header.Get("Content-Type"))
	}
	resp, _ := a.do(http.MethodHead, a.functions.URL+"/fn/default/asis/length", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "1000", resp.Header.Get("Content-Length"), "what GET would have")
}

// A body that cannot be read is the caller's error, and not in the function's log.
func TestBadBodiesAreTheCallersError(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.deploy("f", `function handle(req) { return match req.query.as { "json" => req.json(), "text" => req.text(), "form" => req.form(), _ => json.parse(req.body) } }`)
	for as, c := range map[string]struct{ body, want string }{
		"json": {"{\n  nope", "invalid JSON at line 2, column 3"},
		"text": {"ok\n\xff", "not UTF-8 at line 2, column 1"},
		"form": {"--XX", "does not hold the boundary"},
	} {
		resp, body := a.do(http.MethodPost, a.functions.URL+"/fn/default/f?as="+as, c.body, "Content-Type", "multipart/form-data; boundary=YY")
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, body)
		require.Contains(t, body, `"code":"PC1215"`)
		require.Contains(t, body, "call function default/f: request body: ")
		require.Contains(t, body, c.want)
		require.NotContains(t, body, `"line"`, "that is the script's")
		_, logged := a.api(http.MethodGet, "/apps/default/functions/f/logs", "")
		require.NotContains(t, logged, resp.Header.Get("X-Call-Id"), "it is no error of the function")
		_, records := a.api(http.MethodGet, "/invocations?app=default", "")
		require.Contains(t, records, `"status":400`)
	}
	resp, body := a.do(http.MethodPost, a.functions.URL+"/fn/default/f", "{")
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode, body)

	_, answer := a.api(http.MethodPost, "/apps/default/functions/f/test", `{"request":{"method":"POST","query":"as=json","body":"{"}}`)
	require.Contains(t, answer, `"code":"PC1215"`)
}
