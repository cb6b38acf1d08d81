package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scenario is one call and what must come back. who is "", admin, viewer,
// developer, manager, owner or stranger.
type scenario struct {
	name         string
	who          string
	method, path string // below /api/v1
	body         string
	status       int
	code         string   // of the problem; "" for none
	contains     string   // in the body
	headers      []string // to send
}

func (s shop) token(who string) string {
	return map[string]string{
		"": "", "admin": s.admin, "viewer": s.viewer, "developer": s.developer,
		"manager": s.manager, "owner": s.owner, "stranger": s.stranger,
	}[who]
}

// run makes the calls one after the other on the same node.
func run(t *testing.T, s shop, scenarios []scenario) {
	t.Helper()
	for _, sc := range scenarios {
		name := sc.name
		if name == "" {
			name = strings.TrimSpace(sc.who + " " + sc.method + " " + sc.path)
		}
		t.Run(name, func(t *testing.T) {
			r := s.do(sc.method, "/api/v1"+sc.path, s.token(sc.who), sc.body, sc.headers...)
			require.Equal(t, sc.status, r.status, r.body)
			require.Equal(t, "pi-1", r.header.Get("X-PiCloud-Node"))
			require.NotEmpty(t, r.header.Get("X-Request-Id"))
			if sc.code != "" {
				require.Equal(t, sc.code, string(r.problem(t).Code), r.body)
			}
			require.Contains(t, r.body, sc.contains)
		})
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	const fn = "/apps/shop/functions/hello"
	run(t, newShop(t), []scenario{
		{name: "no token", method: "GET", path: "/apps", status: 401, code: "PC1002"},
		{name: "unknown path without token", method: "GET", path: "/nothing", status: 401, code: "PC1002"},
		{name: "the contract needs a token too", method: "GET", path: "/openapi.json", status: 401, code: "PC1002"},
		{who: "stranger", method: "GET", path: "/apps", status: 200, contains: `"items":[]`},
		{who: "stranger", method: "GET", path: "/apps/shop", status: 404, code: "PC1004"},
		{who: "stranger", method: "GET", path: "/apps/absent", status: 404, code: "PC1004"},
		{who: "stranger", method: "GET", path: fn, status: 404, code: "PC1004"},
		{who: "stranger", method: "GET", path: fn + "/logs", status: 404, code: "PC1004"},
		{who: "stranger", method: "GET", path: "/invocations?app=shop", status: 404, code: "PC1004"},
		{who: "stranger", method: "PUT", path: fn + "/code", body: hello + "\n", status: 404, code: "PC1004"},
		{who: "stranger", method: "POST", path: fn + "/validate", body: hello, status: 404, code: "PC1004"},
		{who: "stranger", method: "POST", path: "/apps", body: `{"name":"mine"}`, status: 403, code: "PC1003"},
		{who: "stranger", method: "GET", path: "/users", status: 403, code: "PC1003"},
		{who: "stranger", method: "POST", path: "/users", body: `{"name":"eve","admin":true}`, status: 403, code: "PC1003"},
		{who: "stranger", method: "POST", path: "/users/admin/token", status: 403, code: "PC1003"},
		{who: "stranger", method: "DELETE", path: "/users/vera", status: 403, code: "PC1003"},
		{who: "stranger", method: "POST", path: "/apps/shop/members", body: `{"user":"stan","role":"owner"}`, status: 404, code: "PC1004"},

		{who: "viewer", method: "GET", path: "/apps/shop", status: 200, contains: `"role":"viewer"`},
		{who: "viewer", method: "GET", path: fn, status: 200, contains: `"version":1`},
		{who: "viewer", method: "GET", path: fn + "/versions/1/code", status: 200, contains: hello},
		{who: "viewer", method: "GET", path: fn + "/logs", status: 200, contains: `{"items":[]}`},
		{who: "viewer", method: "GET", path: "/apps/shop/members", status: 200, contains: `"vera"`},
		{who: "viewer", method: "PUT", path: fn + "/code", body: hello + "\n", status: 403, code: "PC1003"},
		{who: "viewer", method: "POST", path: fn + "/validate", body: hello, status: 403, code: "PC1003"},
		{who: "viewer", method: "POST", path: fn + "/test", body: `{}`, status: 403, code: "PC1003"},
		{who: "viewer", method: "PATCH", path: fn, body: `{"settings":{"limits":{"queue":3}}}`, status: 403, code: "PC1003"},
		{who: "viewer", method: "DELETE", path: fn, status: 403, code: "PC1003"},
		{who: "viewer", method: "POST", path: fn + "/deployments", body: `{"versions":[{"id":1}]}`, status: 403, code: "PC1003"},
		{who: "viewer", method: "POST", path: fn + "/rollback", status: 403, code: "PC1003"},
		{who: "viewer", method: "POST", path: "/apps/shop/members", body: `{"user":"stan","role":"viewer"}`, status: 403, code: "PC1003"},
		{who: "viewer", method: "DELETE", path: "/apps/shop", status: 403, code: "PC1003"},

		{who: "developer", method: "PUT", path: fn + "/code", body: hello + "\n", status: 201, contains: `"number":2`},
		{who: "developer", method: "POST", path: fn + "/validate", body: hello, status: 200, contains: `{"handlers":["handle"]}`},
		{who: "developer", method: "POST", path: "/apps/shop/members", body: `{"user":"stan","role":"viewer"}`, status: 403, code: "PC1003"},
		{who: "manager", method: "POST", path: "/apps/shop/members", body: `{"user":"stan","role":"owner"}`, status: 403, code: "PC1003"},
		{who: "manager", method: "DELETE", path: "/apps/shop", status: 403, code: "PC1003"},
		{who: "owner", method: "DELETE", path: "/apps/shop", status: 204},
		{who: "owner", method: "DELETE", path: "/apps/shop", status: 404, code: "PC1004"},
	})
}

func TestApps(t *testing.T) {
	run(t, newShop(t), []scenario{
		{who: "admin", method: "POST", path: "/apps", body: `{"name":"blog"}`, status: 201, contains: `"name":"blog"`},
		{name: "POST never replaces", who: "admin", method: "POST", path: "/apps", body: `{"name":"blog"}`, status: 409, code: "PC1006"},
		{who: "admin", method: "GET", path: "/apps?limit=1", status: 200, contains: `"next":"blog"`},
		{who: "admin", method: "GET", path: "/apps?limit=1&cursor=blog", status: 200, contains: `"name":"shop"`},
		{who: "admin", method: "GET", path: "/apps?limit=0", status: 400, code: "PC1001", contains: `"field":"limit"`},
		{who: "admin", method: "GET", path: "/apps?limit=201", status: 400, code: "PC1001"},
		{who: "admin", method: "GET", path: "/apps?limit=many", status: 400, code: "PC1001", contains: `"field":"limit"`},
		{name: "cursor of no list", who: "admin", method: "GET", path: "/apps?cursor=%00", status: 400, code: "PC1001"},
		{name: "cursor beyond all", who: "admin", method: "GET", path: "/apps?cursor=" + strings.Repeat("a", 5000), status: 400, code: "PC1001"},
		{name: "bad name", who: "admin", method: "POST", path: "/apps", body: `{"name":"Blog!"}`, status: 400, code: "PC1001", contains: `"field":"name"`},
		{name: "no name", who: "admin", method: "POST", path: "/apps", body: `{}`, status: 400, code: "PC1001", contains: `"field":"name"`},
		{name: "unknown field", who: "admin", method: "POST", path: "/apps", body: `{"name":"x","color":"red"}`, status: 400, code: "PC1001", contains: `"field":"color"`},
		{name: "case is no forgiveness", who: "admin", method: "POST", path: "/apps", body: `{"Name":"x"}`, status: 400, code: "PC1001", contains: `"field":"Name"`},
		{name: "wrong type", who: "admin", method: "POST", path: "/apps", body: `{"name":7}`, status: 400, code: "PC1001", contains: `must be a string`},
		{name: "not an object", who: "admin", method: "POST", path: "/apps", body: `["x"]`, status: 400, code: "PC1001", contains: `must be an object`},
		{name: "null", who: "admin", method: "POST", path: "/apps", body: `null`, status: 400, code: "PC1001", contains: `must be an object`},
		{name: "not JSON", who: "admin", method: "POST", path: "/apps", body: `{"name":`, status: 400, code: "PC1001", contains: `line 1`},
		{name: "two values", who: "admin", method: "POST", path: "/apps", body: `{"name":"x"} {"name":"y"}`, status: 400, code: "PC1001"},
		{name: "no body", who: "admin", method: "POST", path: "/apps", status: 400, code: "PC1001", contains: "no body"},
		{name: "not UTF-8", who: "admin", method: "POST", path: "/apps", body: "{\"name\":\"\xff\"}", status: 400, code: "PC1001"},
		{name: "too large", who: "admin", method: "POST", path: "/apps", body: `{"name":"` + strings.Repeat("x", 65<<10) + `"}`, status: 413, code: "PC1009"},
		{who: "admin", method: "DELETE", path: "/apps/blog", status: 204},
		{who: "admin", method: "GET", path: "/apps/blog", status: 404, code: "PC1004"},
	})
}

func TestMembers(t *testing.T) {
	const members = "/apps/shop/members"
	run(t, newShop(t), []scenario{
		{who: "manager", method: "POST", path: members, body: `{"user":"stan","role":"viewer"}`, status: 201, contains: `"granted_by":"mary"`},
		{name: "POST never changes a role", who: "owner", method: "POST", path: members, body: `{"user":"stan","role":"owner"}`, status: 409, code: "PC1006"},
		{who: "manager", method: "GET", path: members + "/stan", status: 200, contains: `"role":"viewer"`},
		{who: "manager", method: "PATCH", path: members + "/stan", body: `{"role":"developer"}`, status: 200, contains: `"role":"developer"`},
		{name: "PATCH never creates", who: "owner", method: "PATCH", path: members + "/nobody", body: `{"role":"viewer"}`, status: 404, code: "PC1004"},
		{name: "no such role", who: "owner", method: "PATCH", path: members + "/stan", body: `{"role":"king"}`, status: 400, code: "PC1001", contains: `"field":"role"`},
		{name: "no role", who: "owner", method: "PATCH", path: members + "/stan", body: `{}`, status: 400, code: "PC1001"},
		{name: "no such user", who: "owner", method: "POST", path: members, body: `{"user":"nobody","role":"viewer"}`, status: 400, code: "PC1001", contains: `"field":"user"`},
		{who: "manager", method: "DELETE", path: members + "/stan", status: 204},
		{who: "manager", method: "DELETE", path: members + "/stan", status: 404, code: "PC1004"},
		{name: "one of two owners leaves", who: "owner", method: "DELETE", path: members + "/admin", status: 204},
		{name: "the last owner stays", who: "owner", method: "DELETE", path: members + "/olga", status: 409, code: "PC1007"},
		{name: "the last owner stays owner", who: "owner", method: "PATCH", path: members + "/olga", body: `{"role":"viewer"}`, status: 409, code: "PC1007"},
	})
}

func TestFunctions(t *testing.T) {
	const fns, fn = "/apps/shop/functions", "/apps/shop/functions/cart"
	run(t, newShop(t), []scenario{
		{who: "developer", method: "POST", path: fns, body: `{"name":"cart","settings":{"limits":{"timeout":"5s","memory":"32MiB"}}}`, status: 201, contains: `"timeout":"5s","memory":33554432`},
		{name: "POST never replaces", who: "developer", method: "POST", path: fns, body: `{"name":"cart"}`, status: 409, code: "PC1006"},
		{name: "limits have bounds", who: "developer", method: "POST", path: fns, body: `{"name":"x","settings":{"limits":{"timeout":"5h","memory":1}}}`, status: 400, code: "PC1001", contains: `"field":"settings.limits.memory"`},
		{name: "durations have units", who: "developer", method: "POST", path: fns, body: `{"name":"x","settings":{"limits":{"timeout":"5"}}}`, status: 400, code: "PC1001", contains: `"field":"settings.limits.timeout"`},
		{name: "unknown limits have a path", who: "developer", method: "POST", path: fns, body: `{"name":"x","settings":{"limits":{"tiemout":"5s"}}}`, status: 400, code: "PC1001", contains: `"field":"settings.limits.tiemout"`},
		{who: "developer", method: "PATCH", path: fn, body: `{"settings":{"limits":{"memory":null,"queue":9},"methods":["GET"]}}`, status: 200, contains: `"settings":{"limits":{"timeout":"5s","queue":9},"methods":["GET"]}`},
		{name: "null resets all", who: "developer", method: "PATCH", path: fn, body: `{"settings":null}`, status: 200, contains: `"settings":{}`},
		{name: "an empty patch changes nothing", who: "developer", method: "PATCH", path: fn, body: `{}`, status: 200, contains: `"settings":{}`},
		{name: "only settings change", who: "developer", method: "PATCH", path: fn, body: `{"version":7}`, status: 400, code: "PC1001", contains: `"field":"version"`},
		{name: "what is merged is checked", who: "developer", method: "PATCH", path: fn, body: `{"settings":{"cors":{"credentials":true}}}`, status: 400, code: "PC1001", contains: `"field":"settings.cors.origins"`},
		{name: "PATCH never creates", who: "developer", method: "PATCH", path: fns + "/none", body: `{"settings":{}}`, status: 404, code: "PC1004"},
		{name: "stale If-Match", who: "developer", method: "PATCH", path: fn, body: `{}`, headers: []string{"If-Match", `"1"`}, status: 412, code: "PC1008"},
		{name: "weak If-Match", who: "developer", method: "PATCH", path: fn, body: `{}`, headers: []string{"If-Match", `W/"1"`}, status: 412, code: "PC1008"},
		{name: "any If-Match", who: "developer", method: "PATCH", path: fn, body: `{}`, headers: []string{"If-Match", `*`}, status: 200},
		{name: "stale DELETE", who: "developer", method: "DELETE", path: fn, headers: []string{"If-Match", `"1"`}, status: 412, code: "PC1008"},
		{who: "developer", method: "GET", path: fns + "?limit=1", status: 200, contains: `"next":"cart"`},
		{who: "developer", method: "DELETE", path: fn, status: 204},
		{who: "developer", method: "DELETE", path: fn, status: 404, code: "PC1004"},
	})
}

func TestVersionsAndDeployments(t *testing.T) {
	const fn = "/apps/shop/functions/hello"
	run(t, newShop(t), []scenario{
		{name: "nothing to go back to", who: "developer", method: "POST", path: fn + "/rollback", status: 409, code: "PC1010"},
		{who: "developer", method: "PUT", path: fn + "/code?deploy=false", body: hello + "\n", status: 201, contains: `"existing":false`},
		{who: "developer", method: "GET", path: fn, status: 200, contains: `"version":1`},
		{who: "developer", method: "POST", path: fn + "/deployments?wait=quorum", body: `{"versions":[{"id":2,"weight":100}]}`, status: 201, contains: `"complete":true`},
		{who: "developer", method: "GET", path: fn, status: 200, contains: `"version":2`},
		{who: "developer", method: "POST", path: fn + "/rollback", status: 201, contains: `"version":1`},
		{name: "a second rollback goes no way forward", who: "developer", method: "POST", path: fn + "/rollback", status: 409, code: "PC1010"},
		{who: "developer", method: "POST", path: fn + "/rollback", body: `{"to":2}`, status: 201, contains: `"rollback":true,"previous":1`},
		{name: "what the next one brings", who: "developer", method: "POST", path: fn + "/rollback", body: `{"to":2}`, status: 201, contains: `"rollback_to":1,"timings"`},
		{who: "developer", method: "POST", path: fn + "/rollback", body: `{"to":9}`, status: 404, code: "PC1004", contains: `"hint":"the versions are v1 to v2"`},
		{name: "an old version again", who: "developer", method: "PUT", path: fn + "/code", body: hello, status: 200, contains: `"unchanged":false`},
		{name: "and once more", who: "developer", method: "PUT", path: fn + "/code", body: hello, status: 200, contains: `"unchanged":true`},
		{name: "back", who: "developer", method: "POST", path: fn + "/rollback", status: 201, contains: `"version":2`},
		{who: "developer", method: "POST", path: fn + "/rollback", body: `{"to":-1}`, status: 400, code: "PC1001"},
		{name: "no half traffic yet", who: "developer", method: "POST", path: fn + "/deployments", body: `{"versions":[{"id":2,"weight":50}]}`, status: 400, code: "PC1001", contains: `"field":"versions[0].weight"`},
		{name: "one version", who: "developer", method: "POST", path: fn + "/deployments", body: `{"versions":[]}`, status: 400, code: "PC1001"},
		{name: "fields of list items", who: "developer", method: "POST", path: fn + "/deployments", body: `{"versions":[{"id":"2"}]}`, status: 400, code: "PC1001", contains: `"field":"versions[0].id"`},
		{name: "absent version", who: "developer", method: "POST", path: fn + "/deployments", body: `{"versions":[{"id":77}]}`, status: 404, code: "PC1004"},
		{name: "a version beyond all", who: "developer", method: "POST", path: fn + "/deployments", body: `{"versions":[{"id":99999999999}]}`, status: 404, code: "PC1004"},
		{name: "no such wait", who: "developer", method: "POST", path: fn + "/deployments?wait=some", body: `{"versions":[{"id":1}]}`, status: 400, code: "PC1001", contains: `"field":"wait"`},
		{who: "viewer", method: "GET", path: fn + "/versions", status: 200, contains: `"number":2`},
		{who: "viewer", method: "GET", path: fn + "/versions/2", status: 200, contains: `"created_by":"dave"`},
		{who: "viewer", method: "GET", path: fn + "/versions/3", status: 404, code: "PC1004"},
		{who: "viewer", method: "GET", path: fn + "/versions/0", status: 404, code: "PC1004"},
		{who: "viewer", method: "GET", path: fn + "/versions/two", status: 404, code: "PC1004"},
		{who: "viewer", method: "GET", path: fn + "/versions/99999999999", status: 404, code: "PC1004"},
		{who: "viewer", method: "GET", path: fn + "/versions/99999999999999999999999/code", status: 404, code: "PC1004"},
		{who: "viewer", method: "GET", path: fn + "/deployments?limit=1", status: 200, contains: `"next":`},
		{who: "viewer", method: "GET", path: "/apps/shop/functions/none/deployments", status: 404, code: "PC1004"},
	})
}

func TestPathTricks(t *testing.T) {
	long := strings.Repeat("a", 4000)
	run(t, newShop(t), []scenario{
		{who: "admin", method: "GET", path: "/nothing", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/apps/", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "//apps", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/apps/../users", status: 400, code: "PC1216"},
		{who: "admin", method: "GET", path: "/apps/%2e%2e/users", status: 400, code: "PC1216"},
		{who: "admin", method: "GET", path: "/apps/x%2F..%2Fshop", status: 400, code: "PC1216"},
		{who: "admin", method: "GET", path: "/apps/sh%00op", status: 400, code: "PC1216"},
		{who: "admin", method: "GET", path: "/apps/sh%ffop", status: 400, code: "PC1216"},
		{who: "admin", method: "GET", path: "/apps//shop", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/apps/shop%2Ffunctions", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/apps/%2e", status: 400, code: "PC1216"},
		{who: "admin", method: "GET", path: "/apps/shop%00", status: 400, code: "PC1216"},
		{who: "admin", method: "GET", path: "/apps/SHOP", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/apps/%F0%9F%8D%93", status: 404, code: "PC1004"},
		{name: "very long name", who: "admin", method: "GET", path: "/apps/" + long, status: 404, code: "PC1004"},
		{name: "very long path", who: "admin", method: "GET", path: strings.Repeat("/a", 4000), status: 404, code: "PC1004"},
		{name: "a name that nothing can have, to create", who: "admin", method: "PUT", path: "/apps/shop/functions/Hello/code?create=true", body: hello, status: 400, code: "PC1001", contains: `"field":"function"`},
		{who: "admin", method: "POST", path: "/apps/shop", status: 405, code: "PC1005", contains: "DELETE, GET, HEAD"},
		{who: "admin", method: "OPTIONS", path: "/apps", status: 405, code: "PC1005"},
		{who: "admin", method: "BREW", path: "/apps", status: 405, code: "PC1005"},
		{who: "admin", method: "GET", path: "/session", status: 200, contains: `"user":{"name":"admin","admin":true`},
		{who: "admin", method: "GET", path: "/openapi.json", status: 200, contains: `"PiCloud control API"`},
		{who: "admin", method: "GET", path: "/invocations", status: 400, code: "PC1001", contains: `"field":"app"`},
		{who: "admin", method: "GET", path: "/apps/shop/functions/hello/logs?since=yesterday", status: 400, code: "PC1001", contains: `"field":"since"`},
		{who: "admin", method: "GET", path: "/apps/shop/functions/hello/logs?since=15m&tail=0", status: 200, contains: `{"items":[]}`},
		{who: "admin", method: "GET", path: "/apps/shop/functions/hello/logs?tail=1001", status: 400, code: "PC1001", contains: `"field":"tail"`},
		{who: "admin", method: "GET", path: "/apps/shop/functions/hello/logs?follow=perhaps", status: 400, code: "PC1001", contains: `"field":"follow"`},
		{name: "the header must name one", who: "admin", method: "DELETE", path: "/apps/shop/functions/hello", headers: []string{"If-Match", `"x`}, status: 412, code: "PC1008"},
	})
}
