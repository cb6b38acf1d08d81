package api

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

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

type operation struct {
	OperationID string         `json:"operationId"`
	Summary     string         `json:"summary"`
	Codes       []string       `json:"x-codes"`
	Responses   map[string]any `json:"responses"`
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
	fill := strings.NewReplacer("{app}", "shop", "{function}", "hello", "{user}", "vera", "{version}", "1", "{id}", "i1", "{node}", "pi-1")
	c := readContract(t)
	var paths []string
	for p := range c.Paths {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(b, a) }) // the deepest first, for the deletes
	served := 0
	for _, method := range methods {
		for _, p := range paths {
			raw, ok := c.Paths[p][method]
			if !ok {
				continue
			}
			var op operation
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
			var op operation
			require.NoError(t, json.Unmarshal(raw, &op))
			require.NotEmpty(t, op.Summary, "%s %s", method, p)
			require.Contains(t, op.Responses, "default", "%s %s", method, p)
			for _, code := range op.Codes {
				known := slices.ContainsFunc(picloud.Catalogue, func(e picloud.Entry) bool { return string(e.Code) == code })
				require.True(t, known, "%s %s: %s is not in the catalogue", method, p, code)
			}
			require.True(t, slices.IsSorted(op.Codes), "%s %s", method, p)
			if method == "post" {
				if _, creates := op.Responses["201"]; creates && strings.HasSuffix(p, "s") && !strings.HasSuffix(p, "deployments") {
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
		"App": picloud.App{}, "Member": picloud.Member{}, "User": picloud.User{}, "Limits": picloud.Limits{}, "CORS": picloud.CORS{},
		"Settings": picloud.Settings{}, "Function": picloud.Function{}, "Compiled": picloud.Compiled{}, "Version": picloud.Version{},
		"Deployment": picloud.Deployment{}, "Acks": picloud.Acks{}, "LogRecord": picloud.LogRecord{}, "Invocation": picloud.Invocation{},
		"Node": picloud.Node{}, "FieldError": picloud.FieldError{}, "Problem": problem.Problem{},
	} {
		schema, ok := c.Components.Schemas[name]
		require.True(t, ok, name)
		var fields, always []string
		for _, f := range reflect.VisibleFields(reflect.TypeOf(value)) {
			field, options, _ := strings.Cut(f.Tag.Get("json"), ",")
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
