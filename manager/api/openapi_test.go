package api

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/problem"
)

type contractFile struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas map[string]struct {
			Properties map[string]json.RawMessage
			Required   []string
		}
	}
}

type described struct {
	OperationID string   `json:"operationId"`
	Summary     string   `json:"summary"`
	Codes       []string `json:"x-codes"`
	Responses   map[string]struct {
		Headers map[string]any `json:"headers"`
	} `json:"responses"`
}

func readContract(t *testing.T) (c contractFile) {
	t.Helper()
	require.NoError(t, json.Unmarshal(contract, &c))
	return c
}

var methods = []string{"get", "post", "put", "patch", "delete"} // deletes last

func TestEveryRouteIsServed(t *testing.T) {
	s := newShop(t)
	s.agent.runs = []picloud.Invocation{{ID: "i1", App: "shop", Function: "hello"}}
	require.NoError(t, s.db.Nodes().Report(t.Context(), picloud.Node{ID: "00000000-0000-0000-0000-000000000001", Name: "pi-1", Version: "test"}))
	invitation := picloud.Invitation{ID: "0123456789abcdef", Role: picloud.RoleServing, Uses: 1}
	_, err := s.db.Invitations().Create(t.Context(), picloud.Actor{User: "admin", Admin: true}, invitation, time.Hour, make([]byte, 32))
	require.NoError(t, err)
	fill := strings.NewReplacer("{invitation}", invitation.ID, "{app}", "shop", "{function}", "hello", "{user}", "vera", "{version}", "1", "{id}", "i1", "{deployment}", "1", "{node}", "pi-1", "{secret}", "KEY", "{key}", "a/b")
	c := readContract(t)
	var paths []string
	for p := range c.Paths {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) }) // the deepest first, for the deletes
	require.Equal(t, 200, s.do("PUT", "/api/v1/apps/shop/kv/a/b", s.admin, "1").status)
	served := 0
	for _, method := range methods {
		for _, p := range paths {
			raw, ok := c.Paths[p][method]
			if !ok {
				continue
			}
			var op described
			require.NoError(t, json.Unmarshal(raw, &op))
			if op.OperationID == "deleteUser" {
				continue // after the membership, which goes with it
			}
			query := ""
			if op.OperationID == "listInvocations" {
				query = "?app=shop"
			}
			r := s.do(strings.ToUpper(method), fill.Replace(p)+query, s.admin, "{}")
			require.NotContains(t, []int{404, 405, 500}, r.status, "%s %s: %s", method, p, r.body)
			served++
		}
	}
	require.Equal(t, 204, s.do("DELETE", "/api/v1/users/dave", s.admin, "").status)
	require.Greater(t, served, 30)
}

func TestOperationsAreDocumented(t *testing.T) {
	for p, byMethod := range readContract(t).Paths {
		for _, method := range methods {
			raw, ok := byMethod[method]
			if !ok {
				continue
			}
			var op described
			require.NoError(t, json.Unmarshal(raw, &op))
			require.NotEmpty(t, op.Summary, "%s %s", method, p)
			require.Contains(t, op.Responses, "default", "%s %s", method, p)
			for _, code := range op.Codes {
				known := slices.ContainsFunc(picloud.Catalogue, func(e picloud.Entry) bool { return string(e.Code) == code })
				require.True(t, known, "%s %s: %s is not in the catalogue", method, p, code)
			}
			require.True(t, slices.IsSorted(op.Codes), "%s %s", method, p)
			if method == "post" {
				answer, creates := op.Responses["201"]
				if creates && op.OperationID != "rotateToken" { // a token has no path
					require.Contains(t, answer.Headers, "Location", "%s %s", method, p)
				}
				if creates && strings.HasSuffix(p, "s") && !strings.HasSuffix(p, "deployments") && !strings.HasSuffix(p, "join-tokens") {
					require.Contains(t, op.Codes, string(picloud.CodeExists), "%s %s creates, so it may find it there", method, p)
				}
			}
		}
	}
}

// The contract describes types of the root package, which it does not generate.
func TestSchemasDescribeTheirTypes(t *testing.T) {
	c := readContract(t)
	for name, value := range map[string]any{
		"App": picloud.App{}, "Member": picloud.Member{}, "User": picloud.User{}, "AppSettings": picloud.AppSettings{}, "KVQuota": picloud.KVQuota{}, "Secret": picloud.Secret{}, "Limits": picloud.Limits{}, "CORS": picloud.CORS{},
		"Settings": picloud.Settings{}, "Function": picloud.Function{}, "Compiled": picloud.Compiled{}, "Version": picloud.Version{},
		"Deployment": picloud.Deployment{}, "Acks": picloud.Acks{}, "LogRecord": picloud.LogRecord{}, "Invocation": picloud.Invocation{},
		"Node": picloud.Node{}, "Invitation": picloud.Invitation{}, "ClusterState": picloud.ClusterState{}, "Dump": picloud.Dump{}, "FieldError": picloud.FieldError{}, "Problem": problem.Problem{},
	} {
		schema, ok := c.Components.Schemas[name]
		require.True(t, ok, name)
		var fields, always []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(value)) {
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if field == "-" {
				continue // it stays on the node
			}
			fields = append(fields, field)
			if options == "" {
				always = append(always, field)
			}
		}
		var documented []string
		for field := range schema.Properties {
			documented = append(documented, field)
		}
		require.ElementsMatch(t, fields, documented, name)
		require.ElementsMatch(t, always, schema.Required, "%s: what is always there", name)
	}
}

// The Location of a 201 leads to the thing that was made.
func TestLocationsLeadToWhatWasMade(t *testing.T) {
	s := newShop(t)
	const fn = "/api/v1/apps/shop/functions/hello"
	for _, c := range []struct{ method, path, body, location, contains string }{
		{"POST", "/api/v1/apps", `{"name":"blog"}`, "/api/v1/apps/blog", `"name":"blog"`},
		{"POST", "/api/v1/users", `{"name":"ada"}`, "/api/v1/users/ada", `"name":"ada"`},
		{"POST", "/api/v1/apps/shop/members", `{"user":"ada","role":"viewer"}`, "/api/v1/apps/shop/members/ada", `"user":"ada"`},
		{"POST", "/api/v1/apps/shop/functions", `{"name":"cart"}`, "/api/v1/apps/shop/functions/cart", `"name":"cart"`},
		{"PUT", fn + "/code", hello + "\n", fn + "/versions/2", `"number":2`},
		{"POST", fn + "/deployments", `{"versions":[{"id":1}]}`, fn + "/deployments/3", `"id":3,"app":"shop","function":"hello","version":1`},
		{"POST", fn + "/rollback", `{}`, fn + "/deployments/4", `"version":2,"rev":7,"rollback":true`},
	} {
		r := s.do(c.method, c.path, s.admin, c.body)
		require.Equal(t, 201, r.status, "%s %s: %s", c.method, c.path, r.body)
		require.Equal(t, c.location, r.header.Get("Location"))
		r = s.do("GET", c.location, s.admin, "")
		require.Equal(t, 200, r.status, "%s: %s", c.location, r.body)
		require.Contains(t, r.body, c.contains)
	}
	require.Equal(t, 200, s.do("GET", fn+"/deployments/1", s.viewer, "").status)
	require.Equal(t, 404, s.do("GET", fn+"/deployments/1", s.stranger, "").status)
	require.Equal(t, 404, s.do("GET", "/api/v1/apps/shop/functions/cart/deployments/1", s.admin, "").status, "another function's")
	for _, id := range []string{"0", "-1", "99", "9223372036854775807"} {
		require.Equal(t, 404, s.do("GET", fn+"/deployments/"+id, s.admin, "").status, id)
	}
	for _, id := range []string{"one", "9223372036854775808", "1e3"} {
		require.Equal(t, 404, s.do("GET", fn+"/deployments/"+id, s.admin, "").status, id)
		require.Equal(t, 404, s.do("GET", fn+"/versions/"+id, s.admin, "").status, id)
	}
}
