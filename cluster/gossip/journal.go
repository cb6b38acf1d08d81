package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// A journal passes on as many lines in as much time; the others it counts.
const (
	journalLines  = 20
	journalWindow = 10 * time.Second
	longestLine   = 300
)

// stamp is the time that memberlist writes before each line; a logger has its own.
const stamp = "2006/01/02 15:04:05 "

// routine are memberlist's lines about what happens all the time.
var routine = [][]byte{[]byte("[DEBUG] memberlist: Initiating push/pull sync with"), []byte("[DEBUG] memberlist: Stream connection")}

// journal writes memberlist's lines to a logger, at level debug. What strangers
// send to the port makes a line each, so that the lines are bounded.
type journal struct {
	log *slog.Logger

	mu     sync.Mutex
	window time.Time
	lines  int
}

// Write implements io.Writer.
func (j *journal) Write(line []byte) (int, error) {
	if !j.log.Enabled(context.Background(), slog.LevelDebug) {
		return len(line), nil
	}
	size := len(line)
	line = line[min(size, len(stamp)):]
	for _, text := range routine {
		if bytes.HasPrefix(line, text) {
			return size, nil
		}
	}
	now := time.Now()
	j.mu.Lock()
	left := 0
	if now.Sub(j.window) > journalWindow {
		left = max(j.lines-journalLines, 0)
		j.window, j.lines = now, 0
	}
	j.lines++
	tooMany := j.lines > journalLines
	j.mu.Unlock()
	if left > 0 {
		j.log.Debug("gossip: lines were left out", slog.Int("count", left))
	}
	if !tooMany {
		j.log.Debug("gossip", slog.String("memberlist", picloud.Shorten(string(bytes.TrimSpace(line)), longestLine)))
	}
	return size, nil
}
