package client

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// doer keeps the last request instead of sending it.
type doer struct {
	request *http.Request
	body    string
}

func (d *doer) Do(r *http.Request) (*http.Response, error) {
	d.request, d.body = r, ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		d.body = string(b)
	}
	return &http.Response{StatusCode: 204, Body: http.NoBody, Request: r}, nil
}

func TestRequests(t *testing.T) {
	d := &doer{}
	c, err := New("http://pi.local:8081/base", "secret", WithHTTPClient(d))
	require.NoError(t, err)
	limit, prefix, match, ttl := 7, "a b&c", `"3"`, "1h"
	for _, tt := range []struct {
		send          func() (*http.Response, error)
		url, ifMatch  string
		contentType   string
		body          string
		contentLength int64
	}{
		{
			send: func() (*http.Response, error) { return c.ListKV(t.Context(), "shop", nil) },
			url:  "http://pi.local:8081/base/api/v1/apps/shop/kv",
		},
		{
			send: func() (*http.Response, error) {
				return c.ListKV(t.Context(), "shop", &ListKVParams{Prefix: &prefix, Limit: &limit})
			},
			url: "http://pi.local:8081/base/api/v1/apps/shop/kv?limit=7&prefix=a+b%26c",
		},
		{
			send: func() (*http.Response, error) {
				return c.PutKVWithBody(t.Context(), "shop", "a/b %", &PutKVParams{IfMatch: &match, TTL: &ttl}, "text/plain", strings.NewReader("hi"))
			},
			url: "http://pi.local:8081/base/api/v1/apps/shop/kv/a%2Fb%20%25?ttl=1h", ifMatch: match, contentType: "text/plain", body: "hi", contentLength: 2,
		},
		{
			send: func() (*http.Response, error) { return c.GetDeployment(t.Context(), "shop", "hello", 9) },
			url:  "http://pi.local:8081/base/api/v1/apps/shop/functions/hello/deployments/9",
		},
		{
			send: func() (*http.Response, error) { return c.CreateApp(t.Context(), NewApp{Name: "shop"}) },
			url:  "http://pi.local:8081/base/api/v1/apps", contentType: "application/json", body: `{"name":"shop"}`, contentLength: 15,
		},
	} {
		_, err := tt.send()
		require.NoError(t, err)
		require.Equal(t, tt.url, d.request.URL.String())
		require.Equal(t, "Bearer secret", d.request.Header.Get("Authorization"))
		require.Equal(t, tt.ifMatch, d.request.Header.Get("If-Match"))
		require.Equal(t, tt.contentType, d.request.Header.Get("Content-Type"))
		require.Equal(t, tt.body, d.body)
		require.Equal(t, tt.contentLength, d.request.ContentLength)
	}
}

// TestKeysThatLookLikeFolders goes to keys that URLs take for folders, on servers with
// and without a path of their own.
func TestKeysThatLookLikeFolders(t *testing.T) {
	for server, base := range map[string]string{
		"http://pi.local:8081": "", "http://pi.local:8081/": "", "http://pi.local/base": "/base", "http://pi.local/a%2Fb/api/v1/apps/": "/a%2Fb/api/v1/apps",
	} {
		d := &doer{}
		c, err := New(server, "secret", WithHTTPClient(d))
		require.NoError(t, err)
		for key, escaped := range map[string]string{".": "%2E", "..": "%2E%2E", "a/b": "a%2Fb"} {
			_, err = c.GetKV(t.Context(), "shop", key, AtKey("shop", key))
			require.NoError(t, err)
			require.Equal(t, base+"/api/v1/apps/shop/kv/"+escaped, d.request.URL.EscapedPath(), server)
		}
	}
}
