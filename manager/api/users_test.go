package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/manager/api/client"
)

func TestTokensBeginAndEndAtOnce(t *testing.T) {
	n := newNode(t)
	r := n.do("POST", "/api/v1/users", n.admin, `{"name":"ada"}`)
	require.Equal(t, 201, r.status, r.body)
	var made client.UserToken
	r.json(t, &made)
	require.Equal(t, "ada", made.User.Name)
	require.False(t, made.User.Admin)
	require.Regexp(t, `^pct_[A-Za-z0-9_-]{43}$`, made.Token)
	require.Equal(t, "no-store", r.header.Get("Cache-Control"))

	r = n.do("GET", "/api/v1/session", made.Token, "")
	require.Equal(t, 200, r.status)
	require.Contains(t, r.body, `"name":"ada"`)
	require.Equal(t, 409, n.do("POST", "/api/v1/users", n.admin, `{"name":"ada"}`).status)

	var rotated client.NewToken
	r = n.do("POST", "/api/v1/users/ada/token", n.admin, "")
	require.Equal(t, 201, r.status, r.body)
	r.json(t, &rotated)
	require.Equal(t, 401, n.do("GET", "/api/v1/session", made.Token, "").status, "the old token ends at once")
	require.Equal(t, 200, n.do("GET", "/api/v1/session", rotated.Token, "").status)

	require.Contains(t, n.do("GET", "/api/v1/users", n.admin, "").body, `"ada"`)
	require.Equal(t, 404, n.do("POST", "/api/v1/users/eve/token", n.admin, "").status)
	require.Equal(t, 204, n.do("DELETE", "/api/v1/users/ada", n.admin, "").status)
	require.Equal(t, 401, n.do("GET", "/api/v1/session", rotated.Token, "").status)
	require.Equal(t, 404, n.do("DELETE", "/api/v1/users/ada", n.admin, "").status)
	require.Equal(t, 409, n.do("DELETE", "/api/v1/users/admin", n.admin, "").status, "the last admin stays")

	for _, secret := range []string{made.Token, rotated.Token, n.admin} {
		require.NotContains(t, n.logged.String(), secret)
	}
}

func TestWhoSeesAUser(t *testing.T) {
	s := newShop(t)
	run(t, s, []scenario{
		{who: "admin", method: "GET", path: "/users/vera", status: 200, contains: `"name":"vera","admin":false`},
		{who: "viewer", method: "GET", path: "/users/vera", status: 200, contains: `"name":"vera"`},
		{who: "viewer", method: "GET", path: "/users/dave", status: 403, code: "PC1003"},
		{name: "nor whether there is one", who: "viewer", method: "GET", path: "/users/nobody", status: 403, code: "PC1003"},
		{who: "admin", method: "GET", path: "/users/nobody", status: 404, code: "PC1004"},
		{who: "admin", method: "GET", path: "/users/No-Name", status: 404, code: "PC1004"},
		{method: "GET", path: "/users/vera", status: 401, code: "PC1002"},
	})
}

func TestBadCredentials(t *testing.T) {
	n := newNode(t)
	for _, header := range []string{
		"", "Bearer", "Bearer ", "Bearer x", n.admin, "Basic " + n.admin, "Bearer " + n.admin + "x",
		"Bearer pct_" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "Bearer pct_' OR 1=1 --",
	} {
		r := n.do("GET", "/api/v1/session", "", "", "Authorization", header)
		require.Equal(t, 401, r.status, header)
		require.Equal(t, "PC1002", string(r.problem(t).Code))
		require.Equal(t, `Bearer realm="picloud"`, r.header.Get("WWW-Authenticate"))
	}
	require.Equal(t, 200, n.do("GET", "/api/v1/session", "", "", "Authorization", "bearer "+n.admin).status)
}
