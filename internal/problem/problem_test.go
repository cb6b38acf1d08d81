package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestOf(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7:5432: user=picloud")
	tests := []struct {
		name string
		err  error
		want Problem
	}{
		{
			"wrapped, with fields",
			fmt.Errorf("outer: %w", &picloud.Error{
				Code: picloud.CodeInvalid, Op: "create app", Resource: "Shop", Detail: "the name is not valid",
				Hint: "use lower case", Fields: []picloud.FieldError{{Field: "name", Message: "bad"}},
			}),
			Problem{
				Type: "/problems/invalid-input", Title: "Invalid input", Status: 400, Code: "PC1001", RequestID: "r1",
				Detail: "create app Shop: the name is not valid", Hint: "use lower case", Errors: []picloud.FieldError{{Field: "name", Message: "bad"}},
			},
		},
		{
			"the cause says what went wrong",
			&picloud.Error{Code: picloud.CodeConflict, Op: "roll back", Err: errors.New("no earlier version")},
			Problem{Type: "/problems/conflict", Title: "Conflict", Status: 409, Code: "PC1010", RequestID: "r1", Detail: "roll back: no earlier version"},
		},
		{
			"script",
			&picloud.Error{Code: picloud.CodeScript, Script: &picloud.ScriptError{Line: 2, Column: 7, Message: "unexpected }", Excerpt: "  let }"}},
			Problem{
				Type: "/problems/script-error", Title: "Script does not compile", Status: 422, Code: "PC1101", RequestID: "r1",
				Detail: "unexpected }", Line: 2, Column: 7, Message: "unexpected }", Excerpt: "  let }",
			},
		},
		{
			"foreign errors stay inside",
			secret,
			Problem{
				Type: "/problems/internal", Title: "Internal error", Status: 500, Code: "PC1300", RequestID: "r1",
				Detail: "the node's log has the cause under the request id",
			},
		},
		{
			"internal errors keep their cause and detail inside",
			&picloud.Error{Code: picloud.CodeInternal, Op: "list apps", Detail: secret.Error(), Err: secret},
			Problem{
				Type: "/problems/internal", Title: "Internal error", Status: 500, Code: "PC1300", RequestID: "r1",
				Detail: "list apps: the node's log has the cause under the request id",
			},
		},
		{
			"outages keep their cause inside",
			&picloud.Error{Code: picloud.CodeDatabaseDown, Op: "list apps", Err: secret},
			Problem{Type: "/problems/database-down", Title: "Database not reachable", Status: 503, Code: "PC1301", RequestID: "r1", Detail: "list apps"},
		},
		{
			"gone callers",
			fmt.Errorf("query: %w", context.Canceled),
			Problem{Type: "/problems/cancelled", Title: "Cancelled", Status: 499, Code: "PC1213", RequestID: "r1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, Of(tt.err, "r1")) })
	}
}

func TestWriteAdvisesWhenToTryAgain(t *testing.T) {
	for _, tt := range []struct {
		err  picloud.Error
		want string
	}{
		{picloud.Error{Code: picloud.CodeDatabaseDown}, "2"},
		{picloud.Error{Code: picloud.CodeQueueFull, RetryAfter: 1200 * time.Millisecond}, "2"},
		{picloud.Error{Code: picloud.CodeBreakerOpen, RetryAfter: 7 * time.Second}, "7"},
		{picloud.Error{Code: picloud.CodeNotFound}, ""},
	} {
		w := httptest.NewRecorder()
		Write(w, &tt.err, "r1")
		require.Equal(t, tt.want, w.Header().Get("Retry-After"), tt.err.Code)
		require.Equal(t, tt.err.Code.Entry().Status, w.Code)
		require.Equal(t, ContentType, w.Header().Get("Content-Type"))
		var p Problem
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, "r1", p.RequestID)
	}
}

func TestWriteFunctionHidesTheScript(t *testing.T) {
	w := httptest.NewRecorder()
	WriteFunction(w, &picloud.Error{
		Code: picloud.CodeFunctionError, Op: "call", Resource: "shop/pay", Detail: "no such key: card-4711",
		Script: &picloud.ScriptError{Line: 3, Column: 1, Message: "no such key", Excerpt: "let key = 'card-4711'"},
	}, "r1")
	require.Equal(t, "function", w.Header().Get("X-PiCloud-Error"))
	require.NotContains(t, w.Body.String(), "4711")
	require.NotContains(t, w.Body.String(), "line")
	require.Contains(t, w.Body.String(), "shop/pay raised an error")

	w = httptest.NewRecorder()
	WriteFunction(w, &picloud.Error{Code: picloud.CodeQueueFull}, "r1")
	require.Equal(t, "platform", w.Header().Get("X-PiCloud-Error"))
	require.Equal(t, 429, w.Code)

	w = httptest.NewRecorder()
	WriteFunction(w, &picloud.Error{Code: picloud.CodeFunctionTimeout, Resource: "shop/pay", Detail: "ran longer than its limit of 2s"}, "r1")
	require.Equal(t, "function", w.Header().Get("X-PiCloud-Error"))
	require.Contains(t, w.Body.String(), "shop/pay: ran longer than its limit of 2s")
}
