package api

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// documented is what the contract says of an operation.
type documented struct {
	OperationID string `json:"operationId"`
	Parameters  []documentedParam
	RequestBody *documentedBody
	Responses   map[string]struct {
		Headers map[string]any
		Content map[string]documentedMedia
	}
}

type documentedParam struct {
	Ref      string `json:"$ref"`
	In, Name string
	Required bool
	Schema   struct {
		Type, Format string
		Ref          string `json:"$ref"`
	}
}

type documentedBody struct {
	Ref      string `json:"$ref"`
	Required bool
	Content  map[string]documentedMedia
}

type documentedMedia struct {
	Schema struct {
		Ref string `json:"$ref"`
	}
}

// documentedOperations reads the contract, references resolved, by "METHOD path".
func documentedOperations(t *testing.T) map[string]documented {
	t.Helper()
	var c struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			Parameters    map[string]documentedParam
			RequestBodies map[string]documentedBody
		}
	}
	require.NoError(t, json.Unmarshal(contract, &c))
	out := map[string]documented{}
	for path, members := range c.Paths {
		var shared []documentedParam
		if raw, ok := members["parameters"]; ok {
			require.NoError(t, json.Unmarshal(raw, &shared))
		}
		for _, method := range methods {
			raw, ok := members[method]
			if !ok {
				continue
			}
			var op documented
			require.NoError(t, json.Unmarshal(raw, &op))
			op.Parameters = append(slices.Clone(shared), op.Parameters...)
			for i, p := range op.Parameters {
				if p.Ref != "" {
					op.Parameters[i] = c.Components.Parameters[last(p.Ref)]
				}
			}
			if op.RequestBody != nil && op.RequestBody.Ref != "" {
				body := c.Components.RequestBodies[last(op.RequestBody.Ref)]
				op.RequestBody = &body
			}
			out[strings.ToUpper(method)+" "+path] = op
		}
	}
	return out
}

func last(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

// TestOperationsAreTheContract holds openapi.yaml and the code together: every
// operation is routed with its parameters, its body, and its successes, and
// nothing else is routed.
func TestOperationsAreTheContract(t *testing.T) {
	contract := documentedOperations(t)
	require.Greater(t, len(contract), 30)
	for _, op := range operations(Options{}) {
		route := op.method + " " + op.path
		doc, ok := contract[route]
		require.True(t, ok, "%s is not in the contract, or is routed twice", route)
		delete(contract, route)
		t.Run(doc.OperationID, func(t *testing.T) {
			sameParams(t, doc.Parameters, op.params)
			sameBody(t, doc.RequestBody, op.body)
			sameSuccesses(t, doc, op)
		})
	}
	require.Empty(t, slices.Sorted(maps.Keys(contract)), "nothing answers these operations")
}

func sameParams(t *testing.T, want []documentedParam, got []param) {
	t.Helper()
	kinds := map[string]reflect.Kind{"string": reflect.String, "integer": reflect.Int, "boolean": reflect.Bool, "": reflect.String} // "": an enumeration
	var documented, read []param
	for _, p := range want {
		kind := kinds[p.Schema.Type]
		if p.Schema.Format == "int64" {
			kind = reflect.Int64
		}
		documented = append(documented, param{in: p.In, name: p.Name, kind: kind, required: p.Required})
	}
	for _, p := range got {
		p.index = nil
		read = append(read, p)
	}
	require.ElementsMatch(t, documented, read)
}

// sameBody compares bodies by the names of their types, which the generator
// takes from the names of the schemas.
func sameBody(t *testing.T, want *documentedBody, got bodyReader) {
	t.Helper()
	body := reflect.TypeOf(got).Elem()
	if want == nil {
		require.Equal(t, reflect.TypeFor[none](), body)
		return
	}
	schema := last(want.Content["application/json"].Schema.Ref)
	kind, _, _ := strings.Cut(body.Name(), "[")
	switch kind {
	case "raw": // the handler looks at the type itself
		require.True(t, len(want.Content) > 1 || want.Content["*/*"] != documentedMedia{} || schema == "", "a body of JSON alone is read as an object")
		require.True(t, want.Required)
	case "object", "optional":
		value, _ := body.FieldByName("value")
		require.Equal(t, schema, value.Type.Name())
		require.Equal(t, want.Required, kind == "object")
		require.Len(t, want.Content, 1)
	case "patch":
		require.Contains(t, strings.ToLower(body.Name()), "."+strings.ToLower(schema)+"]")
		require.True(t, want.Required)
		require.Len(t, want.Content, 1)
	default:
		require.FailNow(t, "no such body", body.Name())
	}
}

func sameSuccesses(t *testing.T, want documented, got operation) {
	t.Helper()
	statuses := map[string]bool{}
	for status, headers := range got.success {
		name := []byte{byte('0' + status/100), byte('0' + status/10%10), byte('0' + status%10)}
		statuses[string(name)] = true
		answer, ok := want.Responses[string(name)]
		require.True(t, ok, "%s is not in the contract", name)
		require.ElementsMatch(t, slices.Collect(maps.Keys(answer.Headers)), headers)
		if got.answer == reflect.TypeFor[nothing]() {
			require.Empty(t, answer.Content)
			continue
		}
		require.NotEmpty(t, answer.Content)
		if got.answer.Implements(reflect.TypeFor[sender]()) {
			continue // it is written as it is: its tests look at the type
		}
		require.Len(t, answer.Content, 1)
		require.Equal(t, last(answer.Content["application/json"].Schema.Ref), got.answer.Name())
	}
	for status := range want.Responses {
		require.True(t, statuses[status] || status == "default", "%s is never answered", status)
	}
}

// waitsElsewhere are the operations other than GET that do not return a revision
// to wait for, and why.
var waitsElsewhere = map[string]string{
	"putCode": "waits as its caller says, and answers who serves it", "createDeployment": "as putCode", "rollback": "as putCode",
	"createApp": "nothing in it can be called yet", "createFunction": "as createApp",
	"validateCode": "keeps nothing", "testDraft": "keeps nothing",
	"addMember": "nodes know no members", "setMemberRole": "as addMember", "removeMember": "as addMember",
	"createUser": "nodes know no users", "deleteUser": "as createUser", "rotateToken": "as createUser",
	"putKV": "nodes keep no copy of keys", "deleteKV": "as putKV",
	"removeNode": "nodes serve the same without it", "promoteNode": "as removeNode",
	"invite": "nodes serve the same, whoever is invited", "deleteInvitation": "nodes serve the same, whoever is invited",
}

// TestChangesWaitForTheNodes: an operation that changes what nodes serve is
// made by change, which waits for the revision that has the change.
func TestChangesWaitForTheNodes(t *testing.T) {
	contract := documentedOperations(t)
	for _, op := range operations(Options{}) {
		id := contract[op.method+" "+op.path].OperationID
		_, elsewhere := waitsElsewhere[id]
		require.Equal(t, op.method != "GET" && !elsewhere, op.settles, id)
	}

	s := newShop(t)
	s.reports("pi-1")
	settled := 0
	for _, c := range []struct {
		method, path, body string
	}{
		{"PATCH", "/apps/shop", `{"settings":{"limits":{"queue":3}}}`},
		{"PUT", "/apps/shop/env", `{"A":"1"}`},
		{"PUT", "/apps/shop/secrets/TOKEN", "x"},
		{"DELETE", "/apps/shop/secrets/TOKEN", ""},
		{"PATCH", "/apps/shop/functions/hello", `{"settings":{"limits":{"queue":3}}}`},
		{"PATCH", "/nodes/pi-1", `{"limits":{"queue":3}}`},
		{"POST", "/nodes/pi-1/drain", ""},
		{"POST", "/nodes/pi-1/resume", ""},
		{"DELETE", "/apps/shop/functions/hello", ""},
		{"DELETE", "/apps/shop", ""},
	} {
		before := len(s.agent.waited)
		r := s.do(c.method, "/api/v1"+c.path, s.admin, c.body)
		require.Less(t, r.status, 300, r.body)
		require.Len(t, s.agent.waited, before+1, "%s %s", c.method, c.path)
		head, err := s.db.Catalog().Head(t.Context())
		require.NoError(t, err)
		require.Equal(t, head, s.agent.revs[before], "%s %s", c.method, c.path)
		require.Equal(t, string(picloud.WaitAll), s.agent.waited[before])
		settled++
	}
	for _, op := range operations(Options{}) {
		if op.settles {
			settled--
		}
	}
	require.Zero(t, settled, "a change is not tried here")
}
