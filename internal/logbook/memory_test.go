package logbook

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// heap is how many bytes are held now.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManyFollowersHoldLittle: many at once ask for all that one may ask for, of
// logs with ordinary lines and with the longest ones. Each holds a chunk, or one line.
func TestManyFollowersHoldLittle(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		records int
		most    int64 // bytes of each follower
	}{
		"ordinary lines": {strings.Repeat("x", 2000), 1000, 2 * chunk},
		"long lines":     {strings.Repeat("\x01", 64<<10), 8, 2 * maxLine},
	} {
		t.Run(name, func(t *testing.T) {
			const followers = 16 // what each of 64 holds is the same
			l := startLogs(t)
			for i := range c.records {
				l.Log("app", picloud.LogRecord{Time: at(i), Message: fmt.Sprint(i, " ", c.message)})
				if i%20 == 0 {
					l.sync(t.Context())
				}
			}
			l.sync(t.Context())
			before := heap()
			all, first := make([]nextLines, followers), make([][]picloud.LogLine, followers)
			var err error
			for i := range all {
				all[i] = follow(t, l, picloud.LogQuery{App: "app", Limit: maxTail})
				first[i], err = all[i](t.Context())
				require.NoError(t, err)
			}
			require.Less(t, heap()-before, followers*c.most)
			seq := int64(0)
			for lines := first[0]; ; lines, err = all[0](t.Context()) {
				require.NoError(t, err)
				for _, line := range lines {
					if line.JSON == nil {
						require.Equal(t, seq, line.Seq, "the mark comes after the newest records")
						require.EqualValues(t, c.records, seq)
						runtime.KeepAlive(all)
						runtime.KeepAlive(first)
						return
					}
					seq++
					require.Equal(t, seq, line.Seq)
				}
			}
		})
	}
}

// TestTailAsksForRoom before it holds a record.
func TestTailAsksForRoom(t *testing.T) {
	l := startLogs(t)
	for i := range 100 {
		l.Log("app", picloud.LogRecord{Time: at(i), Message: strings.Repeat("x", 1000)})
	}
	full, room := errors.New("no room"), int64(10_000)
	lines, err := l.Tail(t.Context(), picloud.LogQuery{App: "app"}, func(n int64) error {
		if room -= n; room < 0 {
			return full
		}
		return nil
	})
	require.ErrorIs(t, err, full)
	require.Empty(t, lines)
	require.Greater(t, room, int64(-2000), "it asks for one after the other")
}

// TestALineHasABound: what JSON writes with many escapes is cut, and says so.
func TestALineHasABound(t *testing.T) {
	l := startLogs(t)
	wild := strings.Repeat("\x01", 64<<10)
	l.Log("app", picloud.LogRecord{Time: at(1), Message: "fields", Fields: map[string]any{"a": wild}})
	l.Log("app", picloud.LogRecord{Time: at(2), Message: wild})
	l.Log("app", picloud.LogRecord{Time: at(3), Message: strings.Repeat("x", 64<<10), Fields: map[string]any{"a": strings.Repeat("y", 64<<10)}})
	lines := tail(t, l, "app", 10)
	got := decoded(t, lines)
	require.Len(t, got, 3)
	for _, line := range lines {
		require.Less(t, len(line.JSON), maxLine)
	}
	require.Equal(t, "left out: the record is over 256KiB as JSON", got[0].Fields["fields"])
	require.Equal(t, wild[:shortMessage]+"…", got[1].Message)
	require.Len(t, got[2].Fields["a"], 64<<10, "ordinary text is whole")
}

// TestTheNewestOfAFilteredLog: a follower begins with the newest records that it asks
// for, in whichever file they are, and goes on without a gap.
func TestTheNewestOfAFilteredLog(t *testing.T) {
	l := startLogs(t)
	text := strings.Repeat("x", 10_000)
	total := maxLogFile/10_000 + 100 // over a rotation
	for i := range total {
		function := "often"
		if i%200 == 7 {
			function = "seldom"
		}
		l.Log("app", picloud.LogRecord{Time: at(i), Function: function, Message: text})
		if i%100 == 0 {
			l.sync(t.Context())
		}
	}
	var want []int64
	for i := range total {
		if i%200 == 7 {
			want = append(want, int64(i+1))
		}
	}
	for _, c := range []struct {
		limit int
		since int
		want  []int64
	}{
		{limit: 3, want: want[len(want)-3:]},
		{limit: len(want) + 5, want: want},
		{limit: 1000, since: 500, want: want[3:]},
		{limit: 1000, since: total, want: nil},
		{limit: 0, want: nil},
	} {
		q := picloud.LogQuery{App: "app", Functions: []string{"seldom"}, Limit: c.limit}
		if c.since > 0 {
			q.Since = at(c.since)
		}
		next := follow(t, l, q)
		var got []int64
		for {
			lines, err := next(t.Context())
			require.NoError(t, err)
			for _, line := range lines[:len(lines)-1] {
				got = append(got, line.Seq)
			}
			last := lines[len(lines)-1]
			if last.JSON == nil {
				require.EqualValues(t, total, last.Seq)
				break
			}
			got = append(got, last.Seq)
		}
		require.Equal(t, c.want, got, c)
		idle(t, l, next)
	}
}
