package logbook

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/redact"
)

func at(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }

func startLogs(t *testing.T) *Book {
	t.Helper()
	l := New(t.TempDir(), "pi-1", new(redact.Secrets), slog.New(slog.DiscardHandler))
	require.NoError(t, l.Start())
	t.Cleanup(l.Stop)
	return l
}

// decoded reads lines as their readers do.
func decoded(t testing.TB, lines []picloud.LogLine) []picloud.LogRecord {
	t.Helper()
	out := make([]picloud.LogRecord, len(lines))
	for i, line := range lines {
		require.NoError(t, json.Unmarshal(line.JSON, &out[i]), "%s", line.JSON)
	}
	return out
}

func messages(t testing.TB, lines []picloud.LogLine) string {
	t.Helper()
	var out []string
	for _, r := range decoded(t, lines) {
		out = append(out, r.Message)
	}
	return strings.Join(out, " ")
}

// tail reads the newest n records of an app.
func tail(t testing.TB, l *Book, app string, n int) []picloud.LogLine {
	t.Helper()
	lines, err := l.Tail(t.Context(), picloud.LogQuery{App: app, Limit: n}, free)
	require.NoError(t, err)
	return lines
}

func TestTailReturnsTheNewestOldestFirst(t *testing.T) {
	l := startLogs(t)
	for i := range 10 {
		l.Log("app", picloud.LogRecord{Time: at(i), Function: fmt.Sprintf("f%d", i%2), Message: fmt.Sprint(i)})
	}
	l.Log("other", picloud.LogRecord{Time: at(99), Function: "f0", Message: "other"})
	for _, c := range []struct {
		function string
		n        int
		since    time.Time
		want     string
	}{
		{"", 3, time.Time{}, "7 8 9"},
		{"f0", 3, time.Time{}, "4 6 8"},
		{"f1", 0, time.Time{}, "1 3 5 7 9"},
		{"", 100, at(8), "8 9"},
		{"none", 10, time.Time{}, ""},
	} {
		q := picloud.LogQuery{App: "app", Limit: c.n, Since: c.since}
		if c.function != "" {
			q.Functions = []string{c.function}
		}
		got, err := l.Tail(t.Context(), q, free)
		require.NoError(t, err)
		require.Equal(t, c.want, messages(t, got))
	}
	_, err := l.Tail(t.Context(), picloud.LogQuery{App: "../../etc/passwd"}, free)
	require.ErrorIs(t, err, picloud.ErrInvalid)
	require.Empty(t, tail(t, l, "silent", 1))
}

func TestTailByLevelFunctionsAndCall(t *testing.T) {
	l := startLogs(t)
	for i, level := range picloud.LogLevels {
		l.Log("app", picloud.LogRecord{Time: at(i), Level: level, Function: string("abca"[i]), Invocation: "abcd000" + fmt.Sprint(i/2), Message: fmt.Sprint(i)})
	}
	for want, q := range map[string]picloud.LogQuery{
		"0 1 2 3": {},
		"2 3":     {Level: "warn"},
		"3":       {Level: "error"},
		"0 1 3":   {Functions: []string{"a", "b"}},
		"0 1":     {Call: "abcd0000"},
		"2 ":      {Call: "0001", Functions: []string{"c"}},
		"":        {Call: "001"}, // too short for the end of an id
	} {
		q.App = "app"
		got, err := l.Tail(t.Context(), q, free)
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(want), messages(t, got), "%+v", q)
	}
}

func TestLogFilesAreBoundedAndTailReadsAcrossRotation(t *testing.T) {
	l := startLogs(t)
	text := strings.Repeat("x", 60_000)
	total := 2*maxLogFile/len(text) + 40
	for i := range total {
		l.Log("app", picloud.LogRecord{Time: at(0), Function: "f", Message: fmt.Sprintf("%d %s", i, text)})
		if i%50 == 0 {
			l.sync(t.Context())
		}
	}
	l.sync(t.Context())
	var size int64
	entries, err := os.ReadDir(l.dir)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		size += info.Size()
	}
	require.LessOrEqual(t, size, int64(2*maxLogFile+2*len(text)))
	got := decoded(t, tail(t, l, "app", 1000))
	require.Equal(t, int64(-1), got[0].Missing, "one answer is bounded, and says so")
	got = got[1:]
	require.Len(t, got, maxTailSize/(len(text)+150), "more than the current file holds after a rotation")
	for i, r := range got {
		require.True(t, strings.HasPrefix(r.Message, fmt.Sprintf("%d ", total-len(got)+i)))
		require.Equal(t, int64(total-len(got)+i+1), r.Seq)
	}
}

func TestTailSkipsALineTornByACrash(t *testing.T) {
	l := startLogs(t)
	l.Log("app", picloud.LogRecord{Time: at(1), Message: "whole"})
	l.sync(t.Context())
	f, err := os.OpenFile(filepath.Join(l.dir, "app.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"time":"2026-01-01T00:0`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "whole", messages(t, tail(t, l, "app", 10)))
}

func TestLogsOfAGoneAppAreRemoved(t *testing.T) {
	l := startLogs(t)
	l.Log("gone", picloud.LogRecord{Message: "x"})
	l.Log("kept", picloud.LogRecord{Message: "x"})
	l.Forget("gone")
	l.sync(t.Context())
	require.NoFileExists(t, filepath.Join(l.dir, "gone.log"))
	require.FileExists(t, filepath.Join(l.dir, "kept.log"))
}

// free is the room of a reader that may hold everything.
func free(int64) error { return nil }
