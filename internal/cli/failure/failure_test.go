package failure

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestCaretStandsBelowTheColumn(t *testing.T) {
	for name, tt := range map[string]struct {
		script picloud.ScriptError
		want   string
	}{
		"plain":      {picloud.ScriptError{Line: 1, Column: 5, Message: "m", Excerpt: "let x"}, "  f:1:5: m\n    let x\n        ^\n"},
		"tabs":       {picloud.ScriptError{Line: 2, Column: 2, Message: "m", Excerpt: "\tx"}, "  f:2:2: m\n    \tx\n    \t^\n"},
		"multi-byte": {picloud.ScriptError{Line: 1, Column: 3, Message: "m", Excerpt: "äöx"}, "  f:1:3: m\n    äöx\n      ^\n"},
		"end":        {picloud.ScriptError{Line: 1, Column: 3, Message: "m", Excerpt: "ab"}, "  f:1:3: m\n    ab\n      ^\n"},
		"cut off":    {picloud.ScriptError{Line: 1, Column: 300, Message: "m", Excerpt: "ab"}, "  f:1:300: m\n    ab\n"},
		"no column":  {picloud.ScriptError{Line: 1, Message: "m", Excerpt: "ab"}, "  f:1: m\n    ab\n"},
		"no place":   {picloud.ScriptError{Message: "m"}, "  f: m\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			printScript(&out, "f", &tt.script)
			require.Equal(t, tt.want, out.String())
		})
	}
}

// TestTheKindIsTheReasonWhenThereIsNone: a node says what it did, and on what.
func TestTheKindIsTheReasonWhenThereIsNone(t *testing.T) {
	for _, tt := range []struct{ detail, resource, want string }{
		{"get function default/nope", "default/nope", "get function default/nope: not found"},
		{"delete user admin: it is the last cluster admin", "admin", "delete user admin: it is the last cluster admin"},
	} {
		f := Failure{Resource: tt.resource, Err: &picloud.Error{Code: picloud.CodeNotFound, Detail: tt.detail}}
		require.Equal(t, tt.want, f.text())
	}
}

func TestNothingIsSaidTwice(t *testing.T) {
	for name, tt := range map[string]struct {
		err  picloud.Error
		want string
	}{
		"a script without a place": {
			picloud.Error{Code: picloud.CodeScript, Detail: "there is no handler", Script: &picloud.ScriptError{Message: "there is no handler"}},
			"picloud: deploy default/hello: there is no handler\n",
		},
		"a script with a place": {
			picloud.Error{Code: picloud.CodeScript, Detail: "m", Script: &picloud.ScriptError{Line: 1, Message: "m"}},
			"picloud: deploy default/hello: m\n  script:1: m\n",
		},
		"fields": {
			picloud.Error{Code: picloud.CodeInvalid, Detail: "a is 1", Fields: []picloud.FieldError{{Field: "a", Message: "is 1"}, {Field: "b", Message: "is 2"}}},
			"picloud: deploy default/hello: a is 1\n  b is 2\n",
		},
		"what was tried": {
			picloud.Error{Code: picloud.CodeForbidden, Detail: "deploy: only developers may"},
			"picloud: deploy: only developers may\n",
		},
		"an outage": {
			picloud.Error{Code: picloud.CodeDatabaseDown, Detail: "database not reachable"},
			"picloud: deploy default/hello: database not reachable\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			Print(&out, nil, Explain(&tt.err, "deploy", "default/hello"))
			require.Equal(t, tt.want, out.String())
		})
	}
}

func TestAnOutageIsNamed(t *testing.T) {
	// The node says what it tried, and keeps why it failed to itself.
	var out bytes.Buffer
	down := &picloud.Error{Code: picloud.CodeDatabaseDown, Detail: "find user by token", RetryAfter: 2 * time.Second}
	Print(&out, nil, Explain(down, "deploy", "default/hello"))
	require.Equal(t, "picloud: deploy default/hello: find user by token: database not reachable\n  try again in 2s\n", out.String())
}
