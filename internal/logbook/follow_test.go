package logbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/redact"
)

type nextLines = func(context.Context) ([]picloud.LogLine, error)

func follow(t testing.TB, l *Book, q picloud.LogQuery) nextLines {
	t.Helper()
	next, err := l.Follow(t.Context(), q)
	require.NoError(t, err)
	return next
}

// read follows until it has n records.
func read(t testing.TB, next nextLines, n int) (out []picloud.LogRecord) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(out) < n {
		lines, err := next(ctx)
		require.NoError(t, err, "after %d records", len(out))
		lines = slices.DeleteFunc(lines, func(line picloud.LogLine) bool { return line.JSON == nil }) // the mark at the start
		out = append(out, decoded(t, lines)...)
	}
	return out
}

// idle requires that there is nothing more to read now.
func idle(t testing.TB, l *Book, next nextLines) {
	t.Helper()
	l.sync(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for { // a wake-up from before may be left
		lines, err := next(ctx)
		require.Empty(t, lines)
		if errors.Is(err, context.Canceled) {
			return
		}
	}
}

func TestFollow(t *testing.T) {
	l := startLogs(t)
	ctx, cancel := context.WithCancel(t.Context())
	l.Log("app", picloud.LogRecord{Function: "f", Message: "before"})
	next, err := l.Follow(ctx, picloud.LogQuery{App: "app", Functions: []string{"f"}})
	require.NoError(t, err)
	l.Log("app", picloud.LogRecord{Function: "g", Message: "not mine"})
	l.Log("other", picloud.LogRecord{Function: "f", Message: "not mine"})
	l.Log("app", picloud.LogRecord{Function: "f", Message: "mine"})
	require.Equal(t, "mine", read(t, next, 1)[0].Message)
	cancel()
	require.Eventually(t, func() bool { _, err := next(t.Context()); return errors.Is(err, io.EOF) }, 10*time.Second, time.Millisecond, "ends with its context")

	next = follow(t, l, picloud.LogQuery{App: "app"})
	l.EndFollowers()
	_, err = next(t.Context())
	require.NoError(t, err, "the mark")
	_, err = next(t.Context())
	require.ErrorIs(t, err, io.EOF, "ends when the node drains")
	_, err = l.Follow(t.Context(), picloud.LogQuery{App: "app"})
	require.ErrorIs(t, err, picloud.ErrUnavailable)
}

// TestFollowersOfAGoneAppEnd: an app of the same name may belong to somebody else.
func TestFollowersOfAGoneAppEnd(t *testing.T) {
	l := startLogs(t)
	gone, kept := follow(t, l, picloud.LogQuery{App: "gone"}), follow(t, l, picloud.LogQuery{App: "kept"})
	l.EndApp("gone", "0")
	_, err := gone(t.Context())
	require.NoError(t, err, "the mark")
	_, err = gone(t.Context())
	require.ErrorIs(t, err, io.EOF)
	l.Log("kept", picloud.LogRecord{Message: "on"})
	require.Equal(t, "on", read(t, kept, 1)[0].Message)
}

// TestAFollowerGetsEveryRecordOnce: it begins with the newest, and reads on across
// rotations, however slow it is, as long as the files hold what it has not read.
func TestAFollowerGetsEveryRecordOnce(t *testing.T) {
	l := startLogs(t)
	log := func(from, to int) {
		for i := from; i < to; i++ {
			l.Log("app", picloud.LogRecord{Time: at(i), Message: fmt.Sprintf("%d %s", i, strings.Repeat("x", 10_000))})
			if i%100 == 0 {
				l.sync(t.Context())
			}
		}
	}
	number := func(r picloud.LogRecord) (n int) {
		fmt.Sscan(r.Message, &n)
		return n
	}
	log(0, 100)
	slow := follow(t, l, picloud.LogQuery{App: "app", Limit: 3})
	got := read(t, slow, 3)
	const total = 100 + 3*maxLogFile/2/10_000 // over a rotation
	log(100, total)
	got = append(got, read(t, slow, total-100)...)
	require.Len(t, got, total-97)
	for i, r := range got {
		require.Equal(t, 97+i, number(r))
		require.Equal(t, int64(98+i), r.Seq)
	}
	idle(t, l, slow)

	// A reader whose connection broke comes again with the position of its last record.
	last := got[50]
	again := follow(t, l, picloud.LogQuery{App: "app", After: picloud.LogPosition{Seq: last.Seq, Time: last.Time}})
	for i, r := range read(t, again, total-97-51) {
		require.Equal(t, number(last)+1+i, number(r))
	}
	idle(t, l, again)

	// Two more rotations take what it has not read: the stream says how many those are.
	log(total, total+3*maxLogFile/10_000)
	for _, next := range []nextLines{slow, again} {
		seq, gaps := got[len(got)-1].Seq, 0
		for seq < total+3*maxLogFile/10_000 {
			for _, r := range read(t, next, 1) {
				if r.Missing == 0 {
					seq++
					require.Equal(t, seq, r.Seq, "what is missing and what is there make the whole")
					continue
				}
				gaps++
				seq += r.Missing
				require.Equal(t, "warn", r.Level)
				require.Contains(t, r.Message, fmt.Sprintf("%d records are missing here", r.Missing))
			}
		}
		require.Equal(t, 1, gaps)
	}
}

// TestAFollowerOfALogThatWasCut says that it does not know what is missing.
func TestAFollowerOfALogThatWasCut(t *testing.T) {
	dir := t.TempDir()
	start := func() *Book {
		l := New(dir, "pi-1", new(redact.Secrets), slog.New(slog.DiscardHandler))
		require.NoError(t, l.Start())
		t.Cleanup(l.Stop)
		return l
	}
	l := start()
	for i := range 5 {
		l.Log("app", picloud.LogRecord{Time: at(i), Message: fmt.Sprint(i)})
	}
	next := follow(t, l, picloud.LogQuery{App: "app", Limit: 5})
	last := read(t, next, 5)[4]
	require.NoError(t, os.Truncate(current(l.dir, "app"), 0))
	l.Log("app", picloud.LogRecord{Time: at(6), Message: "new"})
	got := read(t, next, 1)
	require.Equal(t, "new", got[0].Message)
	require.Equal(t, last.Seq+1, got[0].Seq, "nothing that it had not read is missing")

	// The position of one log is none of another that began anew.
	l.Stop()
	require.NoError(t, os.Remove(current(l.dir, "app")))
	l = start()
	for i := range 9 {
		l.Log("app", picloud.LogRecord{Time: at(10 + i), Message: fmt.Sprint(i)})
	}
	got = read(t, follow(t, l, picloud.LogQuery{App: "app", After: picloud.LogPosition{Seq: last.Seq, Time: last.Time}}), 10)
	require.Equal(t, int64(-1), got[0].Missing)
	require.Equal(t, "0", got[1].Message)

	// A restart alone loses nothing, and the numbers go on.
	seen := got[9]
	l.Stop()
	l = start()
	l.Log("app", picloud.LogRecord{Time: at(30), Message: "after"})
	got = read(t, follow(t, l, picloud.LogQuery{App: "app", After: picloud.LogPosition{Seq: seen.Seq, Time: seen.Time}}), 1)
	require.Equal(t, seen.Seq+1, got[0].Seq)
	require.Equal(t, "after", got[0].Message)
}

// TestAFloodReachesItsFollower, to the last line.
func TestAFloodReachesItsFollower(t *testing.T) {
	l := startLogs(t)
	next := follow(t, l, picloud.LogQuery{App: "app"})
	const n = 5000
	for i := range n {
		l.Log("app", picloud.LogRecord{Message: fmt.Sprint("line ", i)})
	}
	for i, r := range read(t, next, n) {
		require.Equal(t, fmt.Sprint("line ", i), r.Message)
	}
}

// TestAReaderThatSawNothingLosesNothing: it has a position before its first record.
func TestAReaderThatSawNothingLosesNothing(t *testing.T) {
	for _, before := range []int{0, 3} {
		l := startLogs(t)
		for i := range before {
			l.Log("app", picloud.LogRecord{Time: at(i), Message: "before"})
		}
		lines, err := follow(t, l, picloud.LogQuery{App: "app"})(t.Context())
		require.NoError(t, err)
		require.Len(t, lines, 1)
		require.Nil(t, lines[0].JSON)
		now := time.Now().UTC()
		l.Log("app", picloud.LogRecord{Time: now, Message: "while it was away"})
		got := read(t, follow(t, l, picloud.LogQuery{App: "app", After: lines[0].LogPosition}), 1)
		require.Equal(t, "while it was away", got[0].Message)
		require.Zero(t, got[0].Missing)
	}
}

func TestPositionsAreText(t *testing.T) {
	p := picloud.LogPosition{Seq: 17, Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	back, err := picloud.ParseLogPosition(p.String())
	require.NoError(t, err)
	require.Equal(t, p, back)
	for _, text := range []string{"", "17", "-", "a-b", "17-", "-1-1", "1--1", "1-2-3", "99999999999999999999-1"} {
		_, err := picloud.ParseLogPosition(text)
		require.Error(t, err, text)
	}
}
