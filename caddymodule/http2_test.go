package caddymodule

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// secureClient speaks HTTP/2 to a node whose certificate it does not check, and tells
// whether a request found its connection open.
func secureClient(t *testing.T, serverName string) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: serverName},
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestHTTP2StreamsEndAlone: an answer to one request is no reason to end the
// connection that others use.
func TestHTTP2StreamsEndAlone(t *testing.T) {
	n := startNode(t)
	n.deploy(t, "echo", `function handle(req) { return req.body }`)
	n.deploy(t, "slow", `function handle(req) { time.sleep("500ms")
    return "slept" }`)
	client := secureClient(t, "localhost")
	functions := "https://127.0.0.1:" + n.https + "/fn/default/"
	reused := func(method, function string, body io.Reader) (resp *http.Response, again bool) {
		trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { again = c.Reused }}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, functions+function, body)
		require.NoError(t, err)
		r.Host = "localhost"
		resp, err = client.Do(r)
		require.NoError(t, err)
		require.Equal(t, 2, resp.ProtoMajor)
		return resp, again
	}
	read := func(resp *http.Response) string {
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(raw)
	}
	resp, _ := reused("GET", "echo", nil)
	read(resp)

	var beside sync.WaitGroup
	beside.Go(func() {
		resp, again := reused("GET", "slow", nil)
		if read(resp) != "slept" || !again {
			t.Error("a stream beside refused ones goes on, on the same connection")
		}
	})
	over := bytes.Repeat([]byte{0}, 8<<20+1)
	for name, body := range map[string]io.Reader{
		"announced":     bytes.NewReader(over),
		"not announced": io.MultiReader(bytes.NewReader(over)),
	} {
		resp, again := reused("POST", "echo", body)
		require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode, name)
		require.True(t, again, name)
		require.Contains(t, read(resp), "PC1209", name)
		require.Empty(t, resp.Header.Values("Connection"), name)
	}
	for _, c := range [][2]string{{"POST", "nope"}, {"POST", "%2e%2e"}} {
		resp, again := reused(c[0], c[1], strings.NewReader(strings.Repeat("x", 1<<20)))
		require.True(t, again, c)
		require.Contains(t, read(resp), "PC12", c)
	}
	resp, again := reused("GET", "echo", nil)
	require.True(t, again, "the connection is the first one still")
	read(resp)
	beside.Wait()
}
