package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestReadinessLeaksNothing(t *testing.T) {
	n := newNode(t)
	r := n.do("GET", "/readyz", "", "")
	require.Equal(t, 200, r.status)
	require.JSONEq(t, `{"status":"ready","missing":[]}`, r.body)
	n.agent.missing = []string{"database", "disk_space"}
	r = n.do("GET", "/readyz", "", "")
	require.Equal(t, 200, r.status, "it serves")
	require.JSONEq(t, `{"status":"degraded","missing":["database","disk_space"]}`, r.body)
	for err, code := range map[error]picloud.Code{
		errors.New("dial tcp 10.0.0.7"): picloud.CodeStarting,
		&picloud.Error{Code: picloud.CodeInternal, Detail: "/var/lib/picloud is gone"}:                      picloud.CodeStarting,
		&picloud.Error{Code: picloud.CodeDraining, Op: "drain", Resource: "10.0.0.7", Err: errors.New("x")}: picloud.CodeDraining,
		fmt.Errorf("10.0.0.7: %w", &picloud.Error{Code: picloud.CodeDatabaseDown, Detail: "10.0.0.7"}):      picloud.CodeDatabaseDown,
	} {
		n.agent.ready = err
		r := n.do("GET", "/readyz", "", "")
		require.Equal(t, 503, r.status)
		p := r.problem(t)
		require.Equal(t, code, p.Code)
		require.NotEmpty(t, r.header.Get("Retry-After"))
		require.Empty(t, p.Detail)
		require.NotContains(t, r.body, "10.0.0.7")
	}
	require.JSONEq(t, `{"status":"alive"}`, n.do("GET", "/healthz", "", "").body)
	require.Equal(t, 200, n.do("HEAD", "/healthz", "", "").status)
}

func TestMetricsAreForLoopbackAndTokens(t *testing.T) {
	n := newNode(t)
	require.Equal(t, "picloud_up 1\n", n.do("GET", "/metrics", "", "").body, "loopback")
	far := httptest.NewRequest("GET", "/metrics", nil)
	far.RemoteAddr = "192.0.2.7:1234"
	require.False(t, open(far))
	far.RemoteAddr = "[::ffff:127.0.0.1]:1234"
	require.True(t, open(far))
}

func TestOutsideOfTheContract(t *testing.T) {
	n := newNode(t)
	require.Equal(t, 404, n.do("GET", "/", n.admin, "").status)
	require.Equal(t, 401, n.do("GET", "/", "", "").status)
	require.Equal(t, 405, n.do("POST", "/healthz", "", "").status)
}

func TestRequestIDs(t *testing.T) {
	n := newNode(t)
	require.Equal(t, "my-id_7", n.do("GET", "/healthz", "", "", "X-Request-Id", "my-id_7").header.Get("X-Request-Id"))
	for _, bad := range []string{"", "a b", `"><script>`, "ääh"} {
		id := n.do("GET", "/healthz", "", "", "X-Request-Id", bad).header.Get("X-Request-Id")
		require.Regexp(t, `^[A-Z2-7]{26}$`, id)
	}
}

func TestPanicsBecomeProblems(t *testing.T) {
	s := newShop(t)
	r := s.do("PUT", helloCode, s.developer, "PANIC")
	require.Equal(t, 500, r.status)
	p := r.problem(t)
	require.Equal(t, picloud.CodeInternal, p.Code)
	require.NotContains(t, r.body, "fake")
	require.Contains(t, s.logged.String(), p.RequestID)
	require.Contains(t, s.logged.String(), "the compiler is a fake")
	require.Contains(t, s.logged.String(), "goroutine")
}

func TestAPanicInHalfAnAnswerCutsIt(t *testing.T) {
	s := &server{o: Options{Node: "pi-1"}, log: slog.New(slog.DiscardHandler)}
	srv := httptest.NewServer(s.identify(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.(interface{ Unwrap() http.ResponseWriter }).Unwrap().(http.Flusher).Flush()
		panic("half way")
	})))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = resp.Body.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotEqual(t, "EOF", err.Error())
}
