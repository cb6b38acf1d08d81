package logbook

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/redact"
)

// heldLogs is a book whose writer does not run yet, as with a disk that hangs.
func heldLogs(t *testing.T) *Book {
	t.Helper()
	l := New(t.TempDir(), "pi-1", new(redact.Secrets), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { l.Stop() })
	return l
}

// TestAFloodTakesNothingFromOthers: more apps than fit flood the log while the disk
// hangs, and one that logs a line now and then loses none. Each gap is counted in the
// log of the app whose records are missing.
func TestAFloodTakesNothingFromOthers(t *testing.T) {
	l := heldLogs(t)
	text := strings.Repeat("x", 4000)
	floods := 2 * maxBuffered / maxOfApp
	const quiet = 500
	each := maxOfApp / len(text) * 2
	for i := range each {
		for f := range floods {
			l.Log(fmt.Sprint("flood", f), picloud.LogRecord{Message: text})
		}
		if n := i - (each - quiet); n >= 0 { // when all is full
			l.Log("quiet", picloud.LogRecord{Message: fmt.Sprint(n)})
		}
	}
	require.LessOrEqual(t, l.buffers.size, maxBuffered+(floods+1)*entrySize)
	require.NoError(t, l.Start())

	got := decoded(t, tail(t, l, "quiet", 1000))
	require.Len(t, got, quiet)
	for i, r := range got {
		require.Equal(t, fmt.Sprint(i), r.Message)
		require.Zero(t, r.Missing)
	}
	dropped := int64(0)
	for f := range floods {
		there, missing := int64(0), int64(0)
		file, err := os.ReadFile(current(l.dir, fmt.Sprint("flood", f)))
		require.NoError(t, err)
		for line := range strings.Lines(string(file)) {
			h, whole := headOf([]byte(line))
			require.True(t, whole)
			if missing += h.Missing; h.Missing == 0 {
				there++
			} else {
				require.Contains(t, line, "records are missing here: they came faster than the node's disk takes them")
			}
		}
		require.Equal(t, int64(each), there+missing, "every record is there or counted")
		require.Positive(t, missing)
		dropped += missing
	}
	var metric dto.Metric
	require.NoError(t, l.dropped.Write(&metric))
	require.InDelta(t, dropped, metric.GetCounter().GetValue(), 0)
}

// TestAFullDisk: records wait in memory, then they are dropped and counted; when there
// is room again, the log goes on and says what is missing.
func TestAFullDisk(t *testing.T) {
	l := heldLogs(t)
	said := &strings.Builder{}
	l.log = slog.New(slog.NewTextHandler(said, nil))
	require.NoError(t, os.MkdirAll(l.dir, 0o700))
	full := filepath.Join(l.dir, "app.log")
	require.NoError(t, os.Symlink("/dev/full", full))
	files := &logFiles{book: l, open: map[string]*logFile{}}
	defer files.closeAll()
	failing := false
	round := func() {
		err := l.round(files)
		l.report(err, failing)
		failing = err != nil
	}
	text := strings.Repeat("x", 4000)
	n := 0
	log := func(times int) {
		for range times {
			l.Log("app", picloud.LogRecord{Message: fmt.Sprint(n, " ", text)})
			n++
		}
		round()
	}
	log(10)
	log(10)
	require.Equal(t, 1, strings.Count(said.String(), "cannot be written"), said)
	require.Contains(t, said.String(), "no space left on device")
	log(2 * maxOfApp / len(text))

	require.NoError(t, os.Remove(full))
	round()
	require.Contains(t, said.String(), "function logs are written again")
	l.Log("app", picloud.LogRecord{Message: "after"})
	round()
	file, err := os.ReadFile(full)
	require.NoError(t, err)
	there, missing, last, seq := 0, int64(0), "", int64(0)
	for line := range strings.Lines(string(file)) {
		h, whole := headOf([]byte(line))
		require.True(t, whole)
		seq++
		require.Equal(t, seq, h.Seq)
		if last = line; h.Missing > 0 {
			missing += h.Missing
			require.Contains(t, line, "the node's disk did not take them")
			continue
		}
		if there++; missing == 0 {
			require.Contains(t, line, fmt.Sprintf(`"message":"%d x`, there-1), "in order")
		}
	}
	require.Equal(t, int64(n+1), int64(there)+missing)
	require.Positive(t, missing)
	require.Contains(t, last, "after")
}

// TestWhatWasNotWrittenStaysFirst: records that came while the disk refused others come
// after those.
func TestWhatWasNotWrittenStaysFirst(t *testing.T) {
	b := buffers{of: map[string]*buffer{}}
	for _, text := range []string{"1", "2", "3"} {
		b.add("app", []byte(text))
	}
	taken := b.take()[0]
	b.add("app", []byte("4"))
	b.settle(taken, 1, true)
	var got []string
	size := 0
	for _, e := range b.of["app"].entries {
		got = append(got, string(e.line))
		size += e.size()
	}
	require.Equal(t, []string{"2", "3", "4"}, got)
	require.Equal(t, []int{size, size}, []int{b.size, b.of["app"].size})
	b.settle(b.take()[0], 3, false)
	require.Empty(t, b.of)
	require.Zero(t, b.size)
}

// TestHalfABatchIsWrittenOnce: a disk that takes a part of a batch gets the rest later.
func TestHalfABatchIsWrittenOnce(t *testing.T) {
	l := heldLogs(t)
	require.NoError(t, os.MkdirAll(l.dir, 0o700))
	l.Log("app", picloud.LogRecord{Message: "one"})
	files := &logFiles{book: l, open: map[string]*logFile{}}
	defer files.closeAll()
	require.NoError(t, l.round(files))
	// A line that is only half there, as after a crash or a write that was cut short.
	f, err := os.OpenFile(current(l.dir, "app"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"seq":2,"time":"2026-01-0`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	files.drop("app")
	l.Log("app", picloud.LogRecord{Message: "two"})
	require.NoError(t, l.round(files))
	file, err := os.ReadFile(current(l.dir, "app"))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(file), "\n"))
	require.Contains(t, string(file), `{"seq":2,"time":"0001-01-01T00:00:00Z","level":"","message":"two"`)
}
