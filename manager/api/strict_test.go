package api

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestStrictBodies sends what two readers could understand in two ways.
func TestStrictBodies(t *testing.T) {
	s := newShop(t)
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/api/v1/apps", `{"name":"dupa","name":"dupb"}`, "name is given twice"},
		{"POST", "/api/v1/apps/shop/members", `{"user":"vict","role":"viewer","role":"owner"}`, "role is given twice"},
		{"PUT", "/api/v1/apps/shop/env", `{"K":"a","K":"b"}`, "K is given twice"},
		{"PUT", "/api/v1/apps/shop/env", `{"K":"\ud800"}`, "K has half of a surrogate pair"},
		{"PATCH", "/api/v1/apps/shop", `{"settings":{"limits":{"queue":1,"queue":2}}}`, "settings.limits.queue is given twice"},
		{"PUT", "/api/v1/apps/shop/kv/k", `{"a":[{"b":1,"b":2}]}`, "twice"},
		{"PUT", "/api/v1/apps/shop/kv/k", `"x\udfff"`, "half of a surrogate pair"},
		{"GET", "/api/v1/apps?limit=%", "", "query is malformed"},
		{"GET", "/api/v1/apps?a=1;b=2", "", "query is malformed"},
		{"GET", "/api/v1/apps/shop/kv/k?x=%zz", "", "query is malformed"},
	} {
		r := s.do(c.method, c.path, s.admin, c.body, "Content-Type", "application/json")
		require.Equal(t, 400, r.status, "%s %s %s: %s", c.method, c.path, c.body, r.body)
		require.Contains(t, r.body, c.want, c.body)
		require.Contains(t, r.body, `"code":"PC1001"`)
	}
	require.Equal(t, 404, s.do("GET", "/api/v1/apps/dupb", s.admin, "").status, "nothing was made")
	require.Equal(t, 404, s.do("GET", "/api/v1/apps/shop/kv/k", s.admin, "").status)
	require.Equal(t, 200, s.do("PUT", "/api/v1/apps/shop/env", s.admin, `{"K":"\ud83d\ude00"}`).status)
}

// TestStrangersPages calls the API as a page would whose name leads to the node, and as
// one of another origin.
func TestStrangersPages(t *testing.T) {
	n := newNode(t, func(o *Options) { o.Hosts = []string{"pi-1", "pi-1.local"} })
	send := func(method, path, host string, header ...string) (int, string) {
		r, err := http.NewRequest(method, n.url+path, strings.NewReader(`{"name":"blog"}`))
		require.NoError(t, err)
		r.Host = host
		r.Header.Set("Authorization", "Bearer "+n.admin)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/api/v1/apps", "/nothing"} {
		status, body := send("GET", path, "evil.example:8081")
		require.Equal(t, 421, status, path)
		require.Contains(t, body, `"code":"PC1012"`)
		require.NotContains(t, body, "picloud_up")
	}
	for _, host := range []string{"", "localhost:8081", "pi-1.local", "PI-1:1"} {
		status, body := send("GET", "/metrics", host)
		require.Equal(t, 200, status, "%s: %s", host, body)
	}
	status, body := send("POST", "/api/v1/apps", "localhost:8081", "Origin", "https://evil.example")
	require.Equal(t, 403, status)
	require.Contains(t, body, `"code":"PC1013"`)
	status, _ = send("GET", "/api/v1/apps/blog", "localhost:8081")
	require.Equal(t, 404, status, "it was not made")
	status, body = send("POST", "/api/v1/apps", "localhost:8081", "Origin", "http://localhost:8081")
	require.Equal(t, 201, status, body)
}

// TestLargeBodiesAreAnswered sends bodies that are refused, without waiting for leave to
// send: the caller sees the answer and not the end of the connection.
func TestLargeBodiesAreAnswered(t *testing.T) {
	n := newNode(t)
	for name, c := range map[string]struct {
		head, token string
		status      int
	}{
		"too large":     {"POST /api/v1/apps HTTP/1.1\r\nContent-Length: 10000000\r\n", n.admin, 413},
		"nobody":        {"POST /api/v1/apps HTTP/1.1\r\nContent-Length: 10000000\r\n", "wrong", 401},
		"no such path":  {"POST /api/v1/nothing HTTP/1.1\r\nContent-Length: 10000000\r\n", n.admin, 404},
		"stranger host": {"POST /api/v1/apps HTTP/1.1\r\nContent-Length: 10000000\r\nX-Forwarded-Host: x\r\n", n.admin, 421},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(15*time.Second)))
			host := "localhost"
			if c.status == 421 {
				host = "evil.example"
			}
			_, err = io.WriteString(conn, c.head+"Host: "+host+"\r\nAuthorization: Bearer "+c.token+"\r\n\r\n")
			require.NoError(t, err)
			_, err = conn.Write(bytes.Repeat([]byte("x"), 10_000_000))
			require.NoError(t, err)
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Contains(t, string(answer), http.StatusText(c.status))
			require.Contains(t, string(answer), `"code":"PC1`)
		})
	}
}
