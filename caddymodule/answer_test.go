package caddymodule

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// TestNoAnswerWaitsForABodyThatNobodyReads is about requests that are refused
// before their body was read.
func TestNoAnswerWaitsForABodyThatNobodyReads(t *testing.T) {
	n := startNode(t)
	n.deploy(t, "hello", `function handle(req) { return len(req.body) }`)
	n.deploy(t, "routed", `function handle(req) { return "ran" }`)
	status, said := n.do(t, http.MethodPatch, "/api/v1/apps/default/functions/routed", `{"settings":{"routes":["GET /"]}}`)
	require.Equal(t, http.StatusOK, status, said)
	functions, control := strings.TrimPrefix(n.functions, "http://"), strings.TrimPrefix(n.control, "http://")

	for name, c := range map[string]struct {
		address, request string
		status           int
	}{
		"too large":           {functions, "POST /fn/default/hello HTTP/1.1\r\nContent-Length: 99999999\r\n", http.StatusRequestEntityTooLarge},
		"no such function":    {functions, "POST /fn/default/nope HTTP/1.1\r\nContent-Length: 99999999\r\n", http.StatusNotFound},
		"nothing there":       {functions, "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n", http.StatusNotFound},
		"not signed in":       {control, "POST /api/v1/apps HTTP/1.1\r\nContent-Length: 99999999\r\n", http.StatusUnauthorized},
		"source is too large": {control, "PUT /api/v1/apps/default/functions/f/code HTTP/1.1\r\nAuthorization: Bearer " + n.token + "\r\nContent-Length: 99999999\r\n", http.StatusRequestEntityTooLarge},
	} {
		t.Run(name+", client waits for 100 Continue", func(t *testing.T) {
			conn := dial(t, c.address)
			_, err := io.WriteString(conn, c.request+"Host: localhost\r\nExpect: 100-continue\r\n\r\n")
			require.NoError(t, err)
			resp := answer(t, conn)
			require.Equal(t, c.status, resp.StatusCode)
			require.True(t, resp.Close, "whether the body still comes is not known")
		})
	}
	for name, c := range map[string]struct {
		address, request string
		status           int
	}{
		"too large":           {functions, "POST /fn/default/hello", http.StatusRequestEntityTooLarge},
		"no such function":    {functions, "POST /fn/default/nope", http.StatusNotFound},
		"nothing there":       {functions, "POST /", http.StatusNotFound},
		"path refused":        {functions, "POST /fn/default/hello/..", http.StatusBadRequest},
		"method not taken":    {functions, "PUT /fn/default/routed", http.StatusMethodNotAllowed},
		"no such route":       {functions, "POST /fn/default/routed/x", http.StatusNotFound},
		"not signed in":       {control, "POST /api/v1/apps", http.StatusUnauthorized},
		"no such operation":   {control, "POST /api/v1/nope", http.StatusUnauthorized},
		"source is too large": {control, "PUT /api/v1/apps/default/functions/f/code HTTP/1.1\r\nAuthorization: Bearer " + n.token, http.StatusRequestEntityTooLarge},
	} {
		t.Run(name+", client sends all before it reads", func(t *testing.T) {
			conn := dial(t, c.address)
			request := c.request
			if !strings.Contains(request, "HTTP/1.1") {
				request += " HTTP/1.1"
			}
			_, err := io.WriteString(conn, request+"\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n")
			require.NoError(t, err)
			_, err = conn.Write(make([]byte, 20_000_000))
			require.NoError(t, err, "the connection is not reset under the client")
			require.Equal(t, c.status, answer(t, conn).StatusCode)
		})
	}
	t.Run("client sends some and waits", func(t *testing.T) {
		conn := dial(t, functions)
		_, err := io.WriteString(conn, "POST /fn/default/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\nsome")
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestEntityTooLarge, answer(t, conn).StatusCode)
	})
	t.Run("body that was asked for", func(t *testing.T) {
		conn := dial(t, functions)
		_, err := io.WriteString(conn, "POST /fn/default/hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		require.NoError(t, err)
		in := bufio.NewReader(conn)
		line, err := in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
		_, err = in.ReadString('\n')
		require.NoError(t, err)
		_, err = io.WriteString(conn, "12345")
		require.NoError(t, err)
		resp, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.False(t, resp.Close)
	})
	for _, path := range []string{"/", "/fn", "//fn/default/hello", "/api/v1/apps", "/metrics", "/healthz"} {
		resp, err := http.Get(n.functions + path)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusNotFound, resp.StatusCode, path)
		require.Contains(t, string(body), "PC1201", path)
	}
	for url, c := range map[string]struct {
		status int
		says   string
	}{
		n.functions + "/":                 {http.StatusNotFound, "PiCloud runs here"},
		n.functions + "/favicon.svg":      {http.StatusNotFound, "PiCloud runs here"},
		n.functions + "/fn/default/hello": {http.StatusOK, "0"},
		n.control + "/":                   {http.StatusOK, "control port"},
		n.control + "/api/v1/apps":        {http.StatusUnauthorized, "PC1002"},
	} {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		require.NoError(t, err)
		req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, c.status, resp.StatusCode, url)
		require.Contains(t, string(body), c.says, url)
	}
}

// TestTheNextHandlerAnswers: a site can have more than functions.
func TestTheNextHandlerAnswers(t *testing.T) {
	for name, next := range map[string]caddyhttp.HandlerFunc{
		"status": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusTeapot); return nil },
		"body":   func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "x"); return err },
		"error":  func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(http.StatusTeapot, nil) },
	} {
		w := httptest.NewRecorder()
		err := serveRest(w, httptest.NewRequest(http.MethodGet, "/x", nil), next)
		require.Equal(t, name == "error", err != nil)
		require.NotEqual(t, http.StatusNotFound, w.Code, name)
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(15*time.Second)))
	return conn
}

func answer(t *testing.T, conn net.Conn) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}
