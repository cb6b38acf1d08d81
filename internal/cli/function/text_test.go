package function

import (
	"bytes"
	"strings"
	"testing"
	"time"
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

// TestTheWayToARuntimeErrorCanBeClicked: file:line:column is what terminals know.
func TestTheWayToARuntimeErrorCanBeClicked(t *testing.T) {
	r := picloud.LogRecord{Level: "error", Message: "boom", Function: "hello", Version: 3, Invocation: "abcdefgh00000000ij", Fields: map[string]any{
		"at": "hello.risor:21:38", "trace": []any{"inner (21:38)", "handle (4:2)"}, "other": "x",
	}}
	require.True(t, strings.HasSuffix(logLine(r), ` error v3 boom at hello.risor:21:38 in inner, called at hello.risor:4:2 in handle other="x"`), logLine(r))
	all, one := follower{}, follower{functions: []string{"hello"}}
	require.Contains(t, all.line(r), " error hello v3 #0000ij boom at hello.risor:21:38")
	require.Contains(t, one.line(r), " error v3 #0000ij boom at hello.risor:21:38")
	r.Fields["trace"] = []any{"f (1:2)", "f (1:2)", "f (1:2)", "f (1:2)", "handle (9:9)"}
	require.Contains(t, logLine(r), "called at hello.risor:1:2 in f, called at hello.risor:1:2 in f, and 2 more other=")
	delete(r.Fields, "trace") // of an error in the handler itself
	require.Contains(t, logLine(r), ` boom at hello.risor:21:38 other="x"`)
	r.Fields["at"], r.Fields["trace"] = "noon", []any{"x"} // fields of the script's own
	require.Contains(t, logLine(r), ` boom at="noon" other="x" trace=`)
}

// TestSinceTakesWhatLinesBeginWith: people copy it from there.
func TestSinceTakesWhatLinesBeginWith(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-01-02":              time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
		"2026-01-02 15:04":        time.Date(2026, 1, 2, 15, 4, 0, 0, time.Local),
		"2026-01-02 15:04:05":     time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local),
		"2026-01-02 15:04:05.120": time.Date(2026, 1, 2, 15, 4, 5, 120e6, time.Local),
		"2026-01-02T15:04:05Z":    time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
	} {
		since, err := parseSince(text)
		require.NoError(t, err, text)
		got, err := time.Parse(time.RFC3339, since)
		require.NoError(t, err, text)
		require.True(t, got.Equal(want), "%s: %s", text, since)
	}
	for _, text := range []string{"yesterday", "5", "-1h", "15:04"} {
		_, err := parseSince(text)
		require.Error(t, err, text)
	}
}

func FuzzNothingSteersTheTerminal(f *testing.F) {
	f.Add("plain", 1)
	f.Add("\x1b[2J\r\u202e\x9b", 3)
	f.Fuzz(func(t *testing.T, text string, column int) {
		var out bytes.Buffer
		failure.Print(&out, nil, &failure.Failure{File: "f", Err: &picloud.Error{Script: &picloud.ScriptError{Line: 1, Column: column, Message: text, Excerpt: text}}})
		failure.Print(&out, nil, &picloud.Error{Detail: text, Hint: text, Fields: []picloud.FieldError{{Field: text, Message: text}}})
		out.WriteString(logLine(picloud.LogRecord{Message: text, Level: text, Fields: map[string]any{text: text}}))
		out.WriteString((&follower{}).line(picloud.LogRecord{Level: "error", Message: text, Function: text, Invocation: text, Fields: map[string]any{
			"at": "f.risor:1:1", "trace": []any{text, text + " (1:1)"},
		}}))
		out.WriteString((&follower{}).callLine(picloud.Invocation{Method: text, Path: text, ID: text, Function: text, Code: "PC1203", Error: text}))
		require.Truef(t, utf8.ValidString(out.String()), "%q", out.String())
		require.Falsef(t, strings.ContainsFunc(out.String(), output.Steers), "%q", out.String())
	})
}
