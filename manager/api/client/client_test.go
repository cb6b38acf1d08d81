package client

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
)

func TestMain(m *testing.M) {
	http.DefaultTransport.(*http.Transport).DisableKeepAlives = true
	goleak.VerifyTestMain(m)
}

// serve answers every request with one answer.
func serve(t *testing.T, status int, contentType, body string, headers ...string) *Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "no token", http.StatusForbidden)
			return
		}
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, "secret")
	require.NoError(t, err)
	return c
}

func TestRead(t *testing.T) {
	app, err := Read[App](serve(t, 201, "application/json", `{"name":"shop"}`).CreateApp(t.Context(), NewApp{Name: "shop"}))
	require.NoError(t, err)
	require.Equal(t, "shop", app.Name)

	code, err := Read[string](serve(t, 200, "text/plain", "let a = 1").GetVersionCode(t.Context(), "shop", "hello", 1))
	require.NoError(t, err)
	require.Equal(t, "let a = 1", code)

	_, err = Read[Nothing](serve(t, 204, "", "").DeleteApp(t.Context(), "shop"))
	require.NoError(t, err)

	_, err = Read[App](serve(t, 200, "application/json", `{"name":`).GetApp(t.Context(), "shop"))
	require.ErrorContains(t, err, "decode answer of GET /api/v1/apps/shop")
}

func TestReadOfAProblem(t *testing.T) {
	_, err := Read[Deployed](serve(t, 422, "application/problem+json; charset=utf-8",
		`{"type":"/problems/script-error","title":"Script does not compile","status":422,"code":"PC1101","detail":"compile a/b: bad","line":2,"column":3,"message":"bad","excerpt":"x y","hint":"h"}`,
	).PutCodeWithBody(t.Context(), "a", "b", nil, "text/plain", strings.NewReader("x")))
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, &picloud.Error{
		Code: picloud.CodeScript, Detail: "compile a/b: bad", Hint: "h",
		Script: &picloud.ScriptError{Line: 2, Column: 3, Message: "bad", Excerpt: "x y"},
	}, e)
	require.ErrorIs(t, err, picloud.ErrScript)

	_, err = Read[App](serve(t, 503, "application/problem+json", `{"title":"Down","status":503,"code":"PC1301"}`, "Retry-After", "2").GetApp(t.Context(), "a"))
	require.ErrorAs(t, err, &e)
	require.Equal(t, 2*time.Second, e.RetryAfter)
	require.Equal(t, "Down", e.Detail)
}

func TestReadOfWhatIsNoNode(t *testing.T) {
	_, err := Read[App](serve(t, 502, "text/html", "<h1>nginx</h1>").GetApp(t.Context(), "a"))
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Error(), "502 Bad Gateway")
	require.Contains(t, e.Hint, "8081")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close() // nobody listens there now
	c, err := New("http://"+l.Addr().String(), "secret")
	require.NoError(t, err)
	_, err = Read[App](c.GetApp(t.Context(), "a"))
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Hint, "picloud run")
	require.NotContains(t, e.Error(), "secret")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Read[App](c.GetApp(ctx, "a"))
	require.ErrorIs(t, err, context.Canceled)

	for _, server := range []string{"", "localhost:8081", "ftp://x", "http://", "http://\x00"} {
		_, err := New(server, "")
		require.ErrorIs(t, err, picloud.ErrInvalid, server)
	}
}

func logStream(text string) *http.Response {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(text))}
}

func TestLogs(t *testing.T) {
	text := ": connected\n\nevent: log\ndata: {\"message\":\ndata: \"one\"}\n\n: alive\n\nevent: other\ndata: x\n\nevent: log\r\ndata: {\"message\":\"two\"}\r\n\r\n" +
		"event: end\ndata: {\"code\":\"PC1303\",\"title\":\"Node is shutting down\",\"status\":503}\n\nevent: log\ndata: {\"message\":\"never\"}\n\n"
	var got []string
	var last error
	for r, err := range Logs(logStream(text), nil) {
		if err != nil {
			last = err
			continue
		}
		got = append(got, r.Message)
	}
	require.Equal(t, []string{"one", "two"}, got)
	require.True(t, Ended(last))

	for range Logs(logStream(text), nil) {
		break // leaving is fine
	}
	for _, err := range Logs(logStream("event: log\ndata: nonsense\n\n"), nil) {
		require.ErrorContains(t, err, "read log record")
	}
	for _, err := range Logs(logStream("event: log\ndata: "+strings.Repeat("x", maxEvent+1)), nil) {
		require.ErrorContains(t, err, "read log stream")
	}
}

// FuzzLogs: whatever a server sends, the stream ends, with one error at most.
func FuzzLogs(f *testing.F) {
	f.Add("event: log\ndata: {\"message\":\"one\"}\n\n: alive\n\n")
	f.Add("event: end\ndata: {\"code\":\"PC1303\"}\n\n")
	f.Add("data\n\nevent\n\ndata:\ndata:\n\n\r\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		failures := 0
		for _, err := range Logs(logStream(text), nil) {
			if err != nil {
				failures++
			}
		}
		require.LessOrEqual(t, failures, 1)
	})
}

// FuzzProblem: whatever comes with an error status is an error of the catalogue.
func FuzzProblem(f *testing.F) {
	f.Add(`{"code":"PC1101","line":-1}`, "application/problem+json")
	f.Add(`<html>`, "text/html")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		resp := &http.Response{
			StatusCode: 500, Status: "500 Internal Server Error", Header: http.Header{"Content-Type": {contentType}},
			Body: io.NopCloser(strings.NewReader(body)), Request: httptest.NewRequest("GET", "/x", nil),
		}
		var e *picloud.Error
		require.ErrorAs(t, Check(resp, nil), &e)
	})
}
