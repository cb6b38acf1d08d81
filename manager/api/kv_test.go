package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

func TestKV(t *testing.T) {
	const json, text = "application/json", "text/plain; charset=utf-8"
	run(t, newShop(t), []scenario{
		{who: "developer", method: "GET", path: "/apps/shop/kv", status: 200, contains: `{"items":[]}`},
		{who: "developer", method: "GET", path: "/apps/shop/kv/a", status: 404, code: "PC1004"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/a", body: `{"n":9007199254740993}`, headers: []string{"Content-Type", json}, status: 200, contains: `{"key":"a","size":`},
		{who: "developer", method: "GET", path: "/apps/shop/kv/a", status: 200, contains: `{"n":9007199254740993}`},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/b", body: "a \"text\"", headers: []string{"Content-Type", text}, status: 200},
		{who: "developer", method: "GET", path: "/apps/shop/kv/b", status: 200, contains: `"a \"text\""`},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/c", body: "\xff\x00", status: 200},
		{who: "developer", method: "GET", path: "/apps/shop/kv/c", status: 200, contains: "\xff\x00"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/d/e", body: "7", headers: []string{"Content-Type", json}, status: 200, contains: `"key":"d/e"`},
		{name: "a list shows small values", who: "developer", method: "GET", path: "/apps/shop/kv", status: 200, contains: `"value":{"n":9007199254740993}`},
		{name: "and bytes as base64", who: "developer", method: "GET", path: "/apps/shop/kv?prefix=c", status: 200, contains: `"encoding":"base64"`},
		{who: "developer", method: "GET", path: "/apps/shop/kv?prefix=d/", status: 200, contains: `{"items":[{"key":"d/e",`},
		{who: "developer", method: "GET", path: "/apps/shop/kv?prefix=d%2Fe%2F", status: 200, contains: `{"items":[]}`},
		{who: "developer", method: "GET", path: "/apps/shop/kv?limit=1", status: 200, contains: `"next":`},
		{who: "developer", method: "GET", path: "/apps/shop/kv?limit=0", status: 400, code: "PC1001"},
		{who: "developer", method: "GET", path: "/apps/shop/kv?limit=1e9", status: 400, code: "PC1001", contains: "must be a whole number between 1 and 200"},
		{who: "developer", method: "GET", path: "/apps/shop/kv?cursor=%00", status: 400, code: "PC1001"},
		{who: "developer", method: "GET", path: "/apps/shop/kv?cursor=" + strings.Repeat("a", 3000), status: 400, code: "PC1001", contains: `"field":"cursor"`},

		{who: "developer", method: "PUT", path: "/apps/shop/kv/x", body: `{"n":`, headers: []string{"Content-Type", json}, status: 400, code: "PC1001", contains: "not JSON"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x", body: `18446744073709551616`, headers: []string{"Content-Type", json}, status: 400, code: "PC1001", contains: "64 bits"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x", body: "\xff", headers: []string{"Content-Type", text}, status: 400, code: "PC1001", contains: "UTF-8"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x", body: "a=1", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 400, code: "PC1001", contains: "form"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x", body: strings.Repeat("x", picloud.MaxKVValue), status: 413, code: "PC1009"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x", body: strings.Repeat("x", maxValue+1), status: 413, code: "PC1009"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x?ttl=soon", body: "1", status: 400, code: "PC1001", contains: `"field":"ttl"`},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x?ttl=-1h", body: "1", status: 400, code: "PC1001"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x?ttl=90000h", body: "1", status: 400, code: "PC1001", contains: "87600h"},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/x?ttl=1h", body: "1", status: 200, contains: `"expires_at":"`},
		{who: "developer", method: "PUT", path: "/apps/shop/kv/" + strings.Repeat("k", picloud.MaxKVKey+1), body: "1", status: 400, code: "PC1001", contains: `"field":"key"`},
		{who: "developer", method: "GET", path: "/apps/shop/kv/%00", status: 400, code: "PC1001"},
		{who: "developer", method: "GET", path: "/apps/shop/kv/%ff", status: 400, code: "PC1001"},
		{who: "developer", method: "POST", path: "/apps/shop/kv/x", status: 405, code: "PC1005", contains: "DELETE, GET, HEAD, PUT"},
		{who: "developer", method: "GET", path: "/apps/shop/kv/", status: 404, code: "PC1004"},

		{who: "viewer", method: "GET", path: "/apps/shop/kv", status: 403, code: "PC1003"},
		{who: "viewer", method: "GET", path: "/apps/shop/kv/a", status: 403, code: "PC1003"},
		{who: "viewer", method: "PUT", path: "/apps/shop/kv/a", body: "1", status: 403, code: "PC1003"},
		{who: "viewer", method: "DELETE", path: "/apps/shop/kv/a", status: 403, code: "PC1003"},
		{who: "stranger", method: "GET", path: "/apps/shop/kv", status: 404, code: "PC1004"},
		{who: "stranger", method: "GET", path: "/apps/shop/kv/a", status: 404, code: "PC1004"},
		{who: "stranger", method: "PUT", path: "/apps/shop/kv/a", body: "1", status: 404, code: "PC1004"},
		{name: "not whether there is a key", who: "stranger", method: "PUT", path: "/apps/shop/kv/a", body: "1", headers: []string{"If-Match", `"x"`}, status: 404, code: "PC1004"},
		{who: "stranger", method: "DELETE", path: "/apps/shop/kv/a", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/apps/absent/kv/a", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/apps/../kv/a", status: 400, code: "PC1216"},
		{who: "", method: "GET", path: "/apps/shop/kv/a", status: 401, code: "PC1002"},

		{who: "developer", method: "DELETE", path: "/apps/shop/kv/a", status: 204},
		{who: "developer", method: "DELETE", path: "/apps/shop/kv/a", status: 404, code: "PC1004"},
	})
}

func TestKVVersions(t *testing.T) {
	s := newShop(t)
	const key = "/api/v1/apps/shop/kv/key"
	put := func(body string, headers ...string) reply {
		return s.do("PUT", key, s.developer, body, append([]string{"Content-Type", "application/json"}, headers...)...)
	}
	require.Equal(t, 412, put("1", "If-Match", `"1"`).status, "there is none yet")
	require.Equal(t, 412, put("1", "If-Match", `*`).status)
	require.Equal(t, 412, put("1", "If-Match", `"0"`).status, "zero is no version")
	first := put("1", "If-None-Match", "*")
	require.Equal(t, 200, first.status, first.body)
	tag := first.header.Get("ETag")
	require.Equal(t, 412, put("2", "If-None-Match", "*").status)
	require.Equal(t, "PC1008", string(put("2", "If-None-Match", "*").problem(t).Code))
	require.Equal(t, 400, put("2", "If-None-Match", tag).status)
	require.Equal(t, 400, put("2", "If-None-Match", "*", "If-Match", tag).status)

	got := s.do("GET", key, s.developer, "")
	require.Equal(t, "1", got.body)
	require.Equal(t, tag, got.header.Get("ETag"))
	require.Equal(t, "application/json", got.header.Get("Content-Type"))
	require.Empty(t, got.header.Get("X-PiCloud-Expires-At"))

	second := put("2", "If-Match", tag)
	require.Equal(t, 200, second.status, second.body)
	require.NotEqual(t, tag, second.header.Get("ETag"))
	require.Equal(t, 412, put("3", "If-Match", tag).status)
	require.Equal(t, 412, put("3", "If-Match", "W/"+second.header.Get("ETag")).status, "weak")
	require.Equal(t, 412, put("3", "If-Match", `"`).status)
	require.Equal(t, 200, put("3", "If-Match", tag+", "+second.header.Get("ETag")).status, "one of them")
	require.Equal(t, 200, put("4", "If-Match", "*").status)
	require.Equal(t, 200, put("5").status)
	require.Equal(t, 412, s.do("DELETE", key, s.developer, "", "If-Match", tag).status)
	head := s.do("HEAD", key, s.developer, "")
	require.Equal(t, 200, head.status)
	require.Equal(t, 204, s.do("DELETE", key, s.developer, "", "If-Match", head.header.Get("ETag")).status)
	require.Equal(t, 404, s.do("DELETE", key, s.developer, "", "If-Match", head.header.Get("ETag")).status)
	require.Equal(t, 404, s.do("DELETE", key, s.developer, "", "If-Match", "*").status)
	require.Equal(t, 404, s.do("DELETE", key, s.developer, "").status)

	raw := s.do("PUT", key+"?ttl=1h", s.developer, "\x00\x01")
	require.Equal(t, 200, raw.status)
	got = s.do("GET", key, s.developer, "")
	require.Equal(t, "\x00\x01", got.body)
	require.Equal(t, "application/octet-stream", got.header.Get("Content-Type"))
	at, err := time.Parse(time.RFC3339Nano, got.header.Get("X-PiCloud-Expires-At"))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), at, time.Minute)
}

// A key may hold anything, as a path that is decoded once.
func TestKeysInPaths(t *testing.T) {
	s := newShop(t)
	c, err := client.New(s.url, s.developer)
	require.NoError(t, err)
	keys := []string{
		"a", "a/b", "/a", "a/", "a//b", "/", ".", "..", "../..", "a/../b", "./a", "a b", "a+b", "100%", "a%2Fb", "a?b#c", "ü/ñ", "a;b,c=d&e", `"\`, "…",
		"kv", "a\nb", strings.Repeat("/", 512), strings.Repeat("%", 512),
	}
	for i, key := range keys {
		body := fmt.Sprint(i)
		item, err := client.Read[client.KVItem](c.PutKVWithBody(t.Context(), "shop", key, nil, "application/json", strings.NewReader(body), client.AtKey("shop", key)))
		require.NoError(t, err, "%q", key)
		require.Equal(t, key, item.Key)
		got, err := client.Read[string](c.GetKV(t.Context(), "shop", key, client.AtKey("shop", key)))
		require.NoError(t, err, "%q", key)
		require.Equal(t, body, got, "%q", key)
	}
	one := 1
	var listed []string
	for params := (&client.ListKVParams{Limit: &one}); ; {
		page, err := client.Read[client.KVList](c.ListKV(t.Context(), "shop", params))
		require.NoError(t, err)
		for _, item := range page.Items {
			listed = append(listed, item.Key)
		}
		if page.Next == "" {
			break
		}
		params.Cursor = &page.Next
	}
	require.ElementsMatch(t, keys, listed)

	// As people type them.
	for path, key := range map[string]string{"a/b": "a/b", "a%2fb": "a/b", "a%252Fb": "a%2Fb", "%2e": ".", "..": "..", "a/../b": "a/../b", "a+b": "a+b"} {
		r := s.do("GET", "/api/v1/apps/shop/kv/"+path, s.developer, "")
		require.Equal(t, 200, r.status, "%s: %s", path, r.body)
		want, err := client.Read[string](c.GetKV(t.Context(), "shop", key, client.AtKey("shop", key)))
		require.NoError(t, err)
		require.Equal(t, want, r.body, path)
	}
	for _, key := range keys {
		_, err := client.Read[client.Nothing](c.DeleteKV(t.Context(), "shop", key, nil, client.AtKey("shop", key)))
		require.NoError(t, err, "%q", key)
	}
}

func TestKVQuota(t *testing.T) {
	s := newShop(t)
	require.Equal(t, 200, s.do("PATCH", "/api/v1/apps/shop", s.owner, `{"settings":{"kv":{"keys":2}}}`).status)
	full := 0
	for i := range 64 { // the quota is counted in shards, so that it is met somewhat late
		r := s.do("PUT", fmt.Sprintf("/api/v1/apps/shop/kv/k%d", i), s.developer, "x")
		if r.status == 409 {
			require.Equal(t, "PC1011", string(r.problem(t).Code))
			full++
		}
	}
	require.Equal(t, 62, full)
}

func TestConcurrentWritesOfOneVersion(t *testing.T) {
	s := newShop(t)
	const key = "/api/v1/apps/shop/kv/lock"
	statuses := s.atOnce(24, func(i int) (reply, error) {
		return s.try("PUT", key, s.developer, fmt.Sprint(i), "If-None-Match", "*")
	})
	require.Equal(t, map[int]int{200: 1, 412: 23}, statuses)
	for range 3 {
		tag := s.do("GET", key, s.developer, "").header.Get("ETag")
		statuses = s.atOnce(16, func(i int) (reply, error) {
			return s.try("PUT", key, s.developer, fmt.Sprint(i), "If-Match", tag)
		})
		require.Equal(t, map[int]int{200: 1, 412: 15}, statuses)
	}
	tag := s.do("GET", key, s.developer, "").header.Get("ETag")
	statuses = s.atOnce(8, func(int) (reply, error) { return s.try("DELETE", key, s.developer, "", "If-Match", tag) })
	require.Equal(t, map[int]int{204: 1, 404: 7}, statuses)
}

func TestAtKeyLeavesOtherKeys(t *testing.T) {
	r, err := http.NewRequest("GET", "http://127.0.0.1/api/v1/apps/shop/kv/a%2Fb", nil)
	require.NoError(t, err)
	require.NoError(t, client.AtKey("shop", "a/b")(context.Background(), r))
	require.Equal(t, "/api/v1/apps/shop/kv/a%2Fb", r.URL.EscapedPath())
}
