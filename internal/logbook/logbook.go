// Package logbook keeps what functions log on this node: one bounded file of JSON
// lines for each app, and a live feed for those who follow.
//
// A record goes through three places. Log encodes it and puts it into the buffer of
// its app (buffer.go), which has a bounded share of memory. One goroutine writes the
// buffers to the files in batches (writer.go, file.go), ten times a second at most, and
// numbers the records of each app. Readers read the files: backwards for the newest
// records (tail.go), forwards to follow (cursor.go, follow.go). A follower has no queue
// of its own, so a slow one neither loses records nor holds anything up.
//
// Nothing is lost silently. Where records are missing in the log, a record of the node
// says how many, in their place: in the file when they were dropped before they were
// written, in the stream of a reader when the files that held them are gone.
//
// The files are not synced. The kernel writes them to the disk within half a minute or
// so: a power cut may take the last records, and an SD card is spared the wear.
package logbook

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/redact"
	"github.com/picloud/picloud/internal/service"
)

// lateCalls is how long calls of an app that is gone may still log: longer
// than the longest timeout and the wait before it.
const lateCalls = time.Hour

// Book keeps what functions log. It is safe for concurrent use.
type Book struct {
	dir     string
	node    string
	log     *slog.Logger
	secrets *redact.Secrets
	dropped prometheus.Counter
	writer  *service.Task // nil before Start
	wake    chan struct{} // a record came
	hurry   chan struct{} // write now

	// rotating is held for writing while files are renamed or removed, and for reading
	// while somebody finds out which file is which.
	rotating sync.RWMutex

	mu        sync.Mutex
	draining  bool // no more followers
	closed    bool // no more records
	buffers   buffers
	waiting   []chan struct{} // closed once all that came before is in the files
	followers map[string]map[*follower]struct{}
	ends      map[string]logEnd // of apps that are gone, or that came back since
}

// logEnd marks that an app was deleted. Records that still come from its calls, up
// to the id last, are dropped.
type logEnd struct {
	last string // id of a call
	at   time.Time
}

// New returns the log book of a node whose records carry its name. Secrets that
// are known when a record comes are hidden in it.
func New(dataDir, node string, secrets *redact.Secrets, log *slog.Logger) *Book {
	return &Book{
		dir:     filepath.Join(dataDir, "logs"),
		node:    node,
		log:     log,
		secrets: secrets,
		wake:    make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "picloud_log_records_dropped_total",
			Help: "Log records of functions that were dropped because the writer could not keep up. The log of each app says where.",
		}),
		buffers:   buffers{of: map[string]*buffer{}},
		followers: map[string]map[*follower]struct{}{},
		ends:      map[string]logEnd{},
	}
}

// Collectors returns the log book's metrics, always the same ones.
func (l *Book) Collectors() []prometheus.Collector { return []prometheus.Collector{l.dropped} }

// Start makes the folder and starts the writer.
func (l *Book) Start() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("create log folder: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writer = service.Go(context.Background(), l.write)
	return nil
}

// Log takes a record. It never waits for the disk: a worker's answers would wait
// behind it. When the app's share of memory is full, the record is dropped and counted.
func (l *Book) Log(app string, record picloud.LogRecord) {
	if l.refuses(app, record.Invocation) {
		return
	}
	record.Node, record.Seq, record.Missing = l.node, 0, 0
	l.secrets.Of(app).Record(&record)
	line := encode(&record)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.late(app, record.Invocation) {
		return
	}
	dropped, urgent := l.buffers.add(app, line)
	l.dropped.Add(float64(dropped))
	if urgent {
		signal(l.hurry)
	}
	signal(l.wake)
}

// refuses spares a record that nobody takes the work of being encoded.
func (l *Book) refuses(app, invocation string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.late(app, invocation) {
		return true
	}
	if l.buffers.refuses(app) {
		l.dropped.Inc()
		return true
	}
	return false
}

// late reports whether a call belongs to an app that is gone. The caller holds mu.
func (l *Book) late(app, invocation string) bool {
	end, ok := l.ends[app]
	return ok && invocation <= end.last
}

// EndApp removes the logs of an app that is gone, ends those who follow it, and takes
// no more records of its calls, the last of which had the given id.
func (l *Book) EndApp(app, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.ends, func(_ string, e logEnd) bool { return time.Since(e.at) > lateCalls })
	l.ends[app] = logEnd{last, time.Now()}
	for f := range l.followers[app] { // an app of the same name may belong to somebody else
		l.end(f)
	}
	l.forget(app)
}

// Forget removes the logs of an app that has no function any more.
func (l *Book) Forget(app string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(app)
}

// forget does the work of Forget. The caller holds mu.
func (l *Book) forget(app string) {
	if l.closed {
		return
	}
	l.buffers.forget(app)
	signal(l.wake)
}

// EndFollowers ends every follower and takes no more, so that long answers do
// not hold up a shutdown.
func (l *Book) EndFollowers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	for _, all := range l.followers {
		for f := range all {
			l.end(f)
		}
	}
}

// Stop writes what came and ends the writer and every follower.
func (l *Book) Stop() {
	l.EndFollowers()
	l.mu.Lock()
	l.closed = true
	writer := l.writer
	l.mu.Unlock()
	writer.Stop()
}

// sync waits until everything logged so far can be read back, or ctx ends.
func (l *Book) sync(ctx context.Context) {
	synced := make(chan struct{})
	l.mu.Lock()
	if l.closed || l.writer == nil {
		l.mu.Unlock()
		return
	}
	l.waiting = append(l.waiting, synced)
	l.mu.Unlock()
	signal(l.hurry)
	select {
	case <-synced:
	case <-ctx.Done():
	case <-l.writer.Done():
	}
}

// signal wakes whoever waits for c, which has room for one value.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
