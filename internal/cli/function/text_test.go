package function

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
)

func TestLogLineIsAsPeopleWrite(t *testing.T) {
	line := logLine(picloud.LogRecord{Level: "warn", Message: "refused", Fields: map[string]any{"query": "a=1&b=<2>", "n": 3}})
	require.True(t, strings.HasSuffix(line, ` refused n=3 query="a=1&b=<2>"`), line)
}

func FuzzNothingSteersTheTerminal(f *testing.F) {
	f.Add("plain", 1)
	f.Add("\x1b[2J\r\u202e\x9b", 3)
	f.Fuzz(func(t *testing.T, text string, column int) {
		var out bytes.Buffer
		failure.Print(&out, nil, &failure.Failure{File: "f", Err: &picloud.Error{Script: &picloud.ScriptError{Line: 1, Column: column, Message: text, Excerpt: text}}})
		failure.Print(&out, nil, &picloud.Error{Detail: text, Hint: text, Fields: []picloud.FieldError{{Field: text, Message: text}}})
		out.WriteString(logLine(picloud.LogRecord{Message: text, Level: text, Fields: map[string]any{text: text}}))
		require.Truef(t, utf8.ValidString(out.String()), "%q", out.String())
		require.Falsef(t, strings.ContainsFunc(out.String(), output.Steers), "%q", out.String())
	})
}
