package api

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

func TestWhoMayConfigure(t *testing.T) {
	s := newShop(t)
	s.reports("pi-1")
	require.Equal(t, 204, s.do("PUT", "/api/v1/apps/shop/secrets/TOKEN", s.owner, "x").status)
	run(t, s, []scenario{
		{who: "viewer", method: "GET", path: "/apps/shop", status: 200, contains: `"role":"viewer","settings":{}}`},
		{who: "viewer", method: "GET", path: "/apps/shop/env", status: 200, contains: `{}`},
		{who: "viewer", method: "GET", path: "/apps/shop/secrets", status: 200, contains: `"TOKEN"`},
		{who: "viewer", method: "PUT", path: "/apps/shop/env", body: `{"A":"1"}`, status: 403, code: "PC1003"},
		{who: "viewer", method: "PUT", path: "/apps/shop/secrets/TOKEN", body: "y", status: 403, code: "PC1003"},
		{who: "viewer", method: "DELETE", path: "/apps/shop/secrets/TOKEN", status: 403, code: "PC1003"},
		{who: "developer", method: "PATCH", path: "/apps/shop", body: `{"settings":{"limits":{"queue":3}}}`, status: 403, code: "PC1003"},
		{who: "manager", method: "PATCH", path: "/apps/shop", body: `{"settings":{"limits":{"queue":3}}}`, status: 200, contains: `"role":"admin"`},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `{"A":"1"}`, status: 200, contains: `{"A":"1"}`},
		{who: "developer", method: "PUT", path: "/apps/shop/secrets/TOKEN", body: "y", status: 204},
		{who: "developer", method: "DELETE", path: "/apps/shop/secrets/TOKEN", status: 204},
		{who: "developer", method: "DELETE", path: "/apps/shop/secrets/TOKEN", status: 404, code: "PC1004"},

		{who: "stranger", method: "PATCH", path: "/apps/shop", body: `{"settings":{}}`, status: 404, code: "PC1004"},
		{who: "stranger", method: "GET", path: "/apps/shop/env", status: 404, code: "PC1004"},
		{who: "stranger", method: "PUT", path: "/apps/shop/env", body: `{}`, status: 404, code: "PC1004"},
		{name: "not even what its ETag would be", who: "stranger", method: "PUT", path: "/apps/shop/env", body: `{}`, headers: []string{"If-Match", "*"}, status: 404, code: "PC1004"},
		{who: "stranger", method: "GET", path: "/apps/shop/secrets", status: 404, code: "PC1004"},
		{who: "stranger", method: "PUT", path: "/apps/shop/secrets/TOKEN", body: "x", status: 404, code: "PC1004"},
		{who: "stranger", method: "DELETE", path: "/apps/shop/secrets/TOKEN", status: 404, code: "PC1004"},
		{who: "admin", method: "PUT", path: "/apps/absent/env", body: `{}`, status: 404, code: "PC1004"},
		{who: "admin", method: "PUT", path: "/apps/absent/secrets/A", body: "x", status: 404, code: "PC1004"},
		{who: "", method: "GET", path: "/apps/shop/env", status: 401, code: "PC1002"},

		{who: "stranger", method: "GET", path: "/nodes/pi-1", status: 200, contains: `"name":"pi-1"`},
		{who: "owner", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"memory":"32MiB"}}`, status: 403, code: "PC1003"},
		{who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"memory":"32MiB"}}`, status: 200, contains: `"limits":{"memory":33554432}`},
	})
}

func TestSettingsOfAppsAndNodes(t *testing.T) {
	s := newShop(t)
	s.reports("pi-1")
	run(t, s, []scenario{
		{who: "owner", method: "PATCH", path: "/apps/shop", body: `{"settings":{"limits":{"timeout":"5s","outbound_calls":7},"kv":{"bytes":"1MiB","keys":10}}}`, status: 200, contains: `"settings":{"limits":{"timeout":"5s","outbound_calls":7},"kv":{"bytes":1048576,"keys":10}}`},
		{name: "what is not named stays", who: "owner", method: "PATCH", path: "/apps/shop", body: `{"settings":{"kv":{"keys":null},"limits":{"queue":9}}}`, status: 200, contains: `"settings":{"limits":{"timeout":"5s","queue":9,"outbound_calls":7},"kv":{"bytes":1048576}}`},
		{who: "viewer", method: "GET", path: "/apps/shop", status: 200, contains: `"queue":9`},
		{name: "stale", who: "owner", method: "PATCH", path: "/apps/shop", body: `{"settings":null}`, headers: []string{"If-Match", `"1"`}, status: 412, code: "PC1008"},
		{name: "all reset", who: "owner", method: "PATCH", path: "/apps/shop", body: `{"settings":null}`, headers: []string{"If-Match", `*`}, status: 200, contains: `"settings":{}`},
		{name: "ranges", who: "owner", method: "PATCH", path: "/apps/shop", body: `{"settings":{"limits":{"memory":1},"kv":{"keys":-1}}}`, status: 400, code: "PC1001", contains: `{"field":"settings.kv.keys","message":"must be between 1 and 10000000"}`},
		{name: "zero is not the default", who: "owner", method: "PATCH", path: "/apps/shop", body: `{"settings":{"kv":{"keys":0}}}`, status: 400, code: "PC1001", contains: `settings.kv.keys must be between 1 and 10000000`},
		{name: "other settings are a function's", who: "owner", method: "PATCH", path: "/apps/shop", body: `{"settings":{"egress":["*"]}}`, status: 400, code: "PC1001", contains: `"field":"settings.egress"`},
		{name: "only settings", who: "owner", method: "PATCH", path: "/apps/shop", body: `{"name":"other"}`, status: 400, code: "PC1001", contains: `"field":"name"`},
		{name: "PATCH never creates", who: "admin", method: "PATCH", path: "/apps/none", body: `{"settings":{}}`, status: 404, code: "PC1004"},

		{who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"queue":5,"timeout":"1m0s"}}`, status: 200, contains: `"limits":{"timeout":"1m0s","queue":5}`},
		{who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"queue":null}}`, status: 200, contains: `"limits":{"timeout":"1m0s"}`},
		{who: "admin", method: "GET", path: "/nodes/pi-1", status: 200, contains: `"limits":{"timeout":"1m0s"}`},
		{who: "admin", method: "GET", path: "/nodes", status: 200, contains: `"limits":{"timeout":"1m0s"}`},
		{who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"queue":10001}}`, status: 400, code: "PC1001", contains: `"field":"limits.queue"`},
		{who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"queue":0}}`, status: 400, code: "PC1001", contains: `limits.queue must be between 1 and 10000`},
		{who: "admin", method: "PATCH", path: "/nodes/pi-2", body: `{"limits":{"queue":1}}`, status: 404, code: "PC1004"},
		{who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"rev":1}`, status: 400, code: "PC1001", contains: `"field":"rev"`},

		{name: "a function's queue of zero", who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"limits":{"queue":0}}}`, status: 400, code: "PC1001", contains: `settings.limits.queue must be between 1 and 10000`},
		{name: "an age that no node in touch has", who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"limits":{"max_stale":"1m"}}}`, status: 400, code: "PC1001", contains: `settings.limits.max_stale must be between 2m and 8760h`},
		{name: "an age", who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"limits":{"max_stale":"10m"}}}`, status: 200, contains: `"max_stale":"10m0s"`},
		{name: "an age of a node", who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"max_stale":"1h"}}`, status: 200, contains: `"max_stale":"1h0m0s"`},
		{name: "and none", who: "admin", method: "PATCH", path: "/nodes/pi-1", body: `{"limits":{"max_stale":null}}`, status: 200},
		{name: "a timeout of zero", who: "developer", method: "POST", path: "/apps/shop/functions", body: `{"name":"x","settings":{"limits":{"timeout":"0s"}}}`, status: 400, code: "PC1001", contains: `settings.limits.timeout must be between 10ms and 15m`},
		{who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"env":{"A":"1","B":"2"},"secrets":["TOKEN"],"egress":["api.example.org:443","192.168.1.0/24"],"limits":{"outbound_calls":3}}}`, status: 200, contains: `"env":{"A":"1","B":"2"},"secrets":["TOKEN"],"egress":["api.example.org:443","192.168.1.0/24"]`},
		{name: "null takes one variable away", who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"env":{"A":null,"C":"3"},"secrets":null}}`, status: 200, contains: `"env":{"B":"2","C":"3"},"egress"`},
		{name: "null sets none", who: "developer", method: "POST", path: "/apps/shop/functions", body: `{"name":"x","settings":{"env":{"A":null}}}`, status: 400, code: "PC1001", contains: `"field":"settings.env.A"`},
		{name: "values are text", who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"env":{"A":1}}}`, status: 400, code: "PC1001", contains: `{"field":"settings.env.A","message":"must be a string"}`},
		{name: "a rule is not a URL", who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"egress":["https://api.example.org/x"]}}`, status: 400, code: "PC1001", contains: `is a URL`},
		{name: "a function may have many variables", who: "developer", method: "PATCH", path: "/apps/shop/functions/hello", body: `{"settings":{"env":{"A":"` + strings.Repeat(`\n`, 60<<10) + `"}}}`, status: 200},
	})
}

func TestEnv(t *testing.T) {
	s := newShop(t)
	const env = "/api/v1/apps/shop/env"
	first := s.do("GET", env, s.viewer, "")
	require.Equal(t, "{}\n", first.body)
	etag := first.header.Get("ETag")
	require.Regexp(t, `^"[0-9]+"$`, etag)

	r := s.do("PUT", env, s.developer, `{"A":"<1>","B":""}`, "If-Match", etag)
	require.Equal(t, 200, r.status, r.body)
	require.NotEqual(t, etag, r.header.Get("ETag"))
	got := s.do("GET", env, s.viewer, "")
	require.Equal(t, r.header.Get("ETag"), got.header.Get("ETag"))
	var read picloud.Env
	got.json(t, &read)
	require.Equal(t, picloud.Env{"A": "<1>", "B": ""}, read)
	require.Equal(t, 412, s.do("PUT", env, s.developer, `{}`, "If-Match", etag).status)
	app := s.do("GET", "/api/v1/apps/shop", s.viewer, "")
	require.Equal(t, r.header.Get("ETag"), app.header.Get("ETag"), "one revision for all that an app is configured with")

	many := make([]string, 0, picloud.MaxEnvNames+1)
	for i := range picloud.MaxEnvNames + 1 {
		many = append(many, fmt.Sprintf(`"V%d":""`, i))
	}
	run(t, s, []scenario{
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `{"a-b":""}`, status: 400, code: "PC1001", contains: `"field":"a-b"`},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `{"A":true}`, status: 400, code: "PC1001", contains: `{"field":"A","message":"must be a string"}`},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `{"A":null}`, status: 400, code: "PC1001", contains: `"field":"A"`},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `["A"]`, status: 400, code: "PC1001", contains: "must be an object"},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `null`, status: 400, code: "PC1001"},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: ``, status: 400, code: "PC1001"},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `{` + strings.Join(many, ",") + `}`, status: 400, code: "PC1001", contains: "at most 200 variables"},
		{name: "as large as it may be", who: "developer", method: "PUT", path: "/apps/shop/env", body: `{"A":"` + strings.Repeat(`\n`, picloud.MaxEnvSize-1) + `"}`, status: 200},
		{name: "too large", who: "developer", method: "PUT", path: "/apps/shop/env", body: `{"A":"` + strings.Repeat(`\n`, picloud.MaxEnvSize) + `"}`, status: 400, code: "PC1001", contains: "64KiB"},
		{name: "far too large", who: "developer", method: "PUT", path: "/apps/shop/env", body: `{"A":"` + strings.Repeat(`x`, maxConfig) + `"}`, status: 413, code: "PC1009"},
		{who: "developer", method: "PUT", path: "/apps/shop/env", body: `{}`, status: 200, contains: "{}"},
		{who: "developer", method: "DELETE", path: "/apps/shop/env", status: 405, code: "PC1005", contains: "PUT"},
	})
}

func TestSecretsGoInAndNeverOut(t *testing.T) {
	s := newShop(t)
	const secrets = "/api/v1/apps/shop/secrets"
	value := "hunter2-\x00\xff-" + strings.Repeat("s3cr3t", 10)
	quoted := "hunter2 and \u00fcber"
	require.Equal(t, 204, s.do("PUT", secrets+"/RAW", s.developer, value).status)
	require.Equal(t, 204, s.do("PUT", secrets+"/TEXT", s.developer, "hunter2\n", "Content-Type", "text/plain; charset=utf-8").status)
	require.Equal(t, 204, s.do("PUT", secrets+"/JSON", s.developer, `{"value":"hunter2 and \u00fcber"}`, "Content-Type", "application/json").status)
	require.Equal(t, 204, s.do("PUT", secrets+"/JSON", s.owner, `{"value":"hunter2 and \u00fcber"}`, "Content-Type", "application/json").status, "PUT replaces")

	var listed client.SecretList
	r := s.do("GET", secrets, s.viewer, "")
	r.json(t, &listed)
	require.Len(t, listed.Items, 3)
	require.Equal(t, "JSON", listed.Items[0].Name)
	require.Equal(t, "olga", listed.Items[0].UpdatedBy)
	require.NotContains(t, r.body, "value")
	require.NotContains(t, r.body, "hunter2")
	require.Equal(t, 405, s.do("GET", secrets+"/RAW", s.owner, "").status, "no path reads a value")

	delta, err := s.db.Catalog().Delta(t.Context(), "00000000-0000-0000-0000-000000000001", "", 0)
	require.NoError(t, err)
	for _, app := range delta.Apps {
		if app.App != "shop" {
			continue
		}
		key, err := sealKey.Unwrap("shop", app.Key)
		require.NoError(t, err)
		for name, want := range map[string]string{"RAW": value, "TEXT": "hunter2\n", "JSON": quoted} {
			require.NotContains(t, string(app.Secrets[name]), "hunter2")
			got, err := key.Open(name, app.Secrets[name])
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
	}
	require.NotContains(t, s.logged.String(), "hunter2")
}

// Whatever is wrong with a secret, the answer and the log do not repeat it.
func TestWrongSecretsAreNotRepeated(t *testing.T) {
	s := newShop(t)
	const secret = "/api/v1/apps/shop/secrets/KEY"
	for name, tt := range map[string]struct {
		kind, body string
		status     int
	}{
		"a number":          {"application/json", `{"value":4711471147}`, 400},
		"null":              {"application/json", `{"value":null}`, 400},
		"a list":            {"application/json", `{"value":["hunter2"]}`, 400},
		"no object":         {"application/json", `"hunter2"`, 400},
		"no JSON":           {"application/json", `hunter2`, 400},
		"half JSON":         {"application/json", `{"value":"hunter2`, 400},
		"two values":        {"application/json", `{"value":"hunter2"}{"value":"hunter2"}`, 400},
		"as the name":       {"application/json", `{"hunter2":"x"}`, 400},
		"beside the value":  {"application/json", `{"value":"x","hunter2":"x"}`, 400},
		"in other case":     {"application/json", `{"Value":"hunter2"}`, 400},
		"not UTF-8":         {"application/json", "{\"value\":\"hunter2\xff\"}", 400},
		"empty":             {"application/json", `{"value":""}`, 400},
		"nothing":           {"", ``, 400},
		"a form":            {"application/x-www-form-urlencoded", `value=hunter2`, 400},
		"another form":      {"multipart/form-data; boundary=x", `hunter2`, 400},
		"too long":          {"", strings.Repeat("hunter2 ", picloud.MaxSecretSize/8+1), 413},
		"too long for JSON": {"application/json", `{"value":"` + strings.Repeat("hunter2 ", picloud.MaxSecretSize/8+1) + `"}`, 413},
		"far too long":      {"", strings.Repeat("hunter2 ", 300<<10/8), 413},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.do("PUT", secret, s.developer, tt.body, "Content-Type", tt.kind)
			require.Equal(t, tt.status, r.status, r.body)
			r.problem(t)
			for _, part := range []string{"hunter2", "4711", "'h'"} {
				require.NotContains(t, r.body, part)
				require.NotContains(t, s.logged.String(), part)
			}
		})
	}
	require.Equal(t, 400, s.do("PUT", "/api/v1/apps/shop/secrets/a-b", s.developer, "hunter2").status)
	require.Equal(t, 404, s.do("DELETE", "/api/v1/apps/shop/secrets/a-b", s.developer, "").status)
	require.Contains(t, s.do("GET", "/api/v1/apps/shop/secrets", s.viewer, "").body, `"items":[]`)
}

func TestSecretsWithoutTheClustersKey(t *testing.T) {
	s := newShop(t)
	s.agent.sealErr = &picloud.Error{Code: picloud.CodeSecrets, Op: "seal secret", Detail: "this node has another key"}
	run(t, s, []scenario{
		{who: "developer", method: "PUT", path: "/apps/shop/secrets/KEY", body: "hunter2", status: 503, code: "PC1307"},
		{who: "viewer", method: "PUT", path: "/apps/shop/secrets/KEY", body: "hunter2", status: 403, code: "PC1003"},
		{who: "stranger", method: "PUT", path: "/apps/shop/secrets/KEY", body: "hunter2", status: 404, code: "PC1004"},
	})
	require.NotContains(t, s.logged.String(), "hunter2")
}

func TestSecretsHaveQuotas(t *testing.T) {
	s := newShop(t)
	full := base64.StdEncoding.EncodeToString(make([]byte, picloud.MaxSecretSize))[:picloud.MaxSecretSize]
	for i := range picloud.MaxSecretsSize / picloud.MaxSecretSize {
		require.Equal(t, 204, s.do("PUT", fmt.Sprintf("/api/v1/apps/shop/secrets/S%d", i), s.developer, full).status)
	}
	r := s.do("PUT", "/api/v1/apps/shop/secrets/ONE_MORE", s.developer, "x")
	require.Equal(t, 409, r.status)
	require.Equal(t, "PC1011", string(r.problem(t).Code))
	require.Equal(t, 204, s.do("PUT", "/api/v1/apps/shop/secrets/S0", s.developer, "shorter").status)
	require.Equal(t, 204, s.do("PUT", "/api/v1/apps/shop/secrets/ONE_MORE", s.developer, "x").status)
}

// reports makes a node of that name report.
func (n *node) reports(name string) {
	n.t.Helper()
	require.NoError(n.t, n.db.Nodes().Report(n.t.Context(), picloud.Node{ID: "00000000-0000-0000-0000-000000000001", Name: name, Version: "test"}))
}
