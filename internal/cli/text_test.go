package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
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
			printError(&out, nil, explain(&tt.err, "deploy", "default/hello"))
			require.Equal(t, tt.want, out.String())
		})
	}
}

func TestAnOutageIsNamed(t *testing.T) {
	// The node says what it tried, and keeps why it failed to itself.
	var out bytes.Buffer
	down := &picloud.Error{Code: picloud.CodeDatabaseDown, Detail: "find user by token", RetryAfter: 2 * time.Second}
	printError(&out, nil, explain(down, "deploy", "default/hello"))
	require.Equal(t, "picloud: deploy default/hello: find user by token: database not reachable\n  try again in 2s\n", out.String())
}

func TestLogLineIsAsPeopleWrite(t *testing.T) {
	line := logLine(picloud.LogRecord{Level: "warn", Message: "refused", Fields: map[string]any{"query": "a=1&b=<2>", "n": 3}})
	require.True(t, strings.HasSuffix(line, ` refused n=3 query="a=1&b=<2>"`), line)
}

func FuzzNothingSteersTheTerminal(f *testing.F) {
	f.Add("plain", 1)
	f.Add("\x1b[2J\r\u202e\x9b", 3)
	f.Fuzz(func(t *testing.T, text string, column int) {
		var out bytes.Buffer
		printScript(&out, "f", &picloud.ScriptError{Line: 1, Column: column, Message: text, Excerpt: text})
		printError(&out, nil, &picloud.Error{Detail: text, Hint: text, Fields: []picloud.FieldError{{Field: text, Message: text}}})
		out.WriteString(logLine(picloud.LogRecord{Message: text, Level: text, Fields: map[string]any{text: text}}))
		require.Truef(t, utf8.ValidString(out.String()), "%q", out.String())
		require.Falsef(t, strings.ContainsFunc(out.String(), steers), "%q", out.String())
	})
}

func TestServersAreTheSame(t *testing.T) {
	for _, same := range [][2]string{
		{"http://127.0.0.1:8081", "http://localhost:8081/"},
		{"http://[::1]:8081", "http://127.0.0.1:8081"},
		{"https://pi", "https://PI:443"},
	} {
		require.Truef(t, sameServer(same[0], same[1]), "%v", same)
	}
	for _, different := range [][2]string{
		{"http://127.0.0.1:8081", "http://127.0.0.1:9081"},
		{"http://pi:8081", "https://pi:8081"},
		{"http://pi:8081", "http://pi.evil:8081"},
		{"http://localhost:8081", "http://localhost.evil:8081"},
		{"http://127.0.0.1:8081", "http://127.0.0.1:8081@evil"},
		{"", ""},
	} {
		require.Falsef(t, sameServer(different[0], different[1]), "%v", different)
	}
}

func TestTimesAreRead(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	c := &cli{Options: Options{Now: func() time.Time { return now }}}
	for d, want := range map[time.Duration]string{
		-time.Second: "now", 900 * time.Millisecond: "now", 59 * time.Second: "59s ago", 61 * time.Minute: "1h ago",
		90 * time.Second: "1m ago", 47 * time.Hour: "47h ago", 72 * time.Hour: "3d ago",
	} {
		require.Equal(t, want, c.ago(now.Add(-d)))
	}
	require.Equal(t, "-", c.ago(time.Time{}))
	require.Equal(t, "less than 1 ms", took(time.Microsecond))
	require.Equal(t, "38 ms", took(38*time.Millisecond+999*time.Microsecond))
	require.Equal(t, "1.5 s", took(1500*time.Millisecond))
}

// Every command says what it is for, in the same style, and fits a terminal.
func TestHelpIsTidy(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return // cobra's own
		}
		require.NotEmptyf(t, cmd.Short, "%s", cmd.CommandPath())
		require.Falsef(t, strings.HasSuffix(cmd.Short, "."), "%s: the short text is a phrase", cmd.CommandPath())
		require.Equalf(t, strings.ToUpper(cmd.Short[:1]), cmd.Short[:1], "%s", cmd.CommandPath())
		for line := range strings.SplitSeq(cmd.Short+"\n"+cmd.Long+"\n"+cmd.Example+"\n"+cmd.LocalFlags().FlagUsages(), "\n") {
			require.LessOrEqualf(t, utf8.RuneCountInString(line), 130, "%s: %q", cmd.CommandPath(), line)
		}
		if cmd.HasSubCommands() {
			require.NotNil(t, cmd.RunE)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(New(Options{}))
}
