package logbook

import (
	"context"
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

func messages(records []picloud.LogRecord) string {
	var out []string
	for _, r := range records {
		out = append(out, r.Message)
	}
	return strings.Join(out, " ")
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
		got, err := l.Tail(t.Context(), "app", c.function, c.n, c.since)
		require.NoError(t, err)
		require.Equal(t, c.want, messages(got))
	}
	_, err := l.Tail(t.Context(), "../../etc/passwd", "", 1, time.Time{})
	require.ErrorIs(t, err, picloud.ErrInvalid)
	got, err := l.Tail(t.Context(), "silent", "", 1, time.Time{})
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestLogFilesAreBoundedAndTailReadsAcrossRotation(t *testing.T) {
	l := startLogs(t)
	text := strings.Repeat("x", 60_000)
	total := 2*maxLogFile/len(text) + 40
	for i := range total {
		l.Log("app", picloud.LogRecord{Time: at(0), Function: "f", Message: fmt.Sprintf("%d %s", i, text)})
		if i%1000 == 0 {
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
	got, err := l.Tail(t.Context(), "app", "f", 150, time.Time{})
	require.NoError(t, err)
	require.Len(t, got, 150, "more than the current file holds after a rotation")
	for i, r := range got {
		require.True(t, strings.HasPrefix(r.Message, fmt.Sprintf("%d ", total-150+i)))
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
	got, err := l.Tail(t.Context(), "app", "", 10, time.Time{})
	require.NoError(t, err)
	require.Equal(t, "whole", messages(got))
}

func TestFollow(t *testing.T) {
	l := startLogs(t)
	ctx, cancel := context.WithCancel(t.Context())
	feed, err := l.Follow(ctx, "app", "f")
	require.NoError(t, err)
	l.Log("app", picloud.LogRecord{Function: "g", Message: "not mine"})
	l.Log("other", picloud.LogRecord{Function: "f", Message: "not mine"})
	l.Log("app", picloud.LogRecord{Function: "f", Message: "mine"})
	require.Equal(t, "mine", (<-feed).Message)
	cancel()
	_, open := <-feed
	require.False(t, open, "ends with its context")

	feed, err = l.Follow(t.Context(), "app", "")
	require.NoError(t, err)
	l.EndFollowers()
	_, open = <-feed
	require.False(t, open, "ends when the node drains")
	_, err = l.Follow(t.Context(), "app", "")
	require.ErrorIs(t, err, picloud.ErrUnavailable)
}

func TestASlowFollowerHoldsNobodyUp(t *testing.T) {
	l := startLogs(t)
	_, err := l.Follow(t.Context(), "app", "")
	require.NoError(t, err)
	for i := range 10 * followBuffer {
		l.Log("app", picloud.LogRecord{Message: fmt.Sprint(i)})
	}
	l.sync(t.Context())
	got, err := l.Tail(t.Context(), "app", "", 1, time.Time{})
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(10*followBuffer-1), messages(got))
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
