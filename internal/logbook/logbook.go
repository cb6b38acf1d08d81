// Package logbook keeps what functions log on this node: one bounded file of JSON
// lines for each app, and a live feed for those who follow.
package logbook

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

const (
	// maxLogFile is the size at which an app's log file is rotated. The current
	// and one older file are kept: 16 MB per app.
	maxLogFile = 8 << 20
	// logQueue bounds the records that wait for the writer; beyond it records
	// are dropped and counted, so that logging never holds up a call.
	logQueue = 4096
	// logFlush is how long a record may wait in memory.
	logFlush = 100 * time.Millisecond
	// maxOpenLogs bounds the file handles of the writer.
	maxOpenLogs = 32
	// followBuffer bounds what a follower may lag behind before it misses records.
	followBuffer = 256
	// maxFollowers bounds the followers of one node.
	maxFollowers = 64
	// lateCalls is how long calls of an app that is gone may still log: longer
	// than the longest timeout and the wait before it.
	lateCalls = time.Hour
)

// Book keeps what functions log: one file of JSON lines per app, rotated, and
// a live feed for followers. One goroutine writes.
type Book struct {
	dir     string
	node    string
	log     *slog.Logger
	secrets *redact.Secrets
	queue   chan logEntry
	dropped prometheus.Counter
	writer  *service.Task // nil before Start

	mu        sync.Mutex
	draining  bool // no more followers
	closed    bool // no more records
	followers map[*follower]struct{}
	ends      map[string]logEnd // of apps that are gone, or that came back since
}

// logEnd marks that an app was deleted. Records that still come from its calls, up
// to the id last, are dropped.
type logEnd struct {
	last string // id of a call
	at   time.Time
}

type logEntry struct {
	app    string
	record picloud.LogRecord
	synced chan<- struct{} // non-nil: a barrier, closed once everything before it is in the files
	forget bool            // the app is gone: remove its files
}

type follower struct {
	app, function string
	feed          chan picloud.LogRecord
}

// New returns the log book of a node whose records carry its name. Secrets that
// are known when a record comes are hidden in it.
func New(dataDir, node string, secrets *redact.Secrets, log *slog.Logger) *Book {
	return &Book{
		dir:     filepath.Join(dataDir, "logs"),
		node:    node,
		log:     log,
		queue:   make(chan logEntry, logQueue),
		secrets: secrets,
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "picloud_log_records_dropped_total",
			Help: "Log records of functions that were dropped because the writer could not keep up.",
		}),
		followers: map[*follower]struct{}{},
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
	l.writer = service.Go(context.Background(), func(context.Context) { l.write() }) // it ends with the queue
	return nil
}

// Log queues a record; it never blocks.
func (l *Book) Log(app string, record picloud.LogRecord) {
	record.Node = l.node
	l.secrets.Of(app).Record(&record)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if end, ok := l.ends[app]; ok && record.Invocation <= end.last {
		return
	}
	for f := range l.followers {
		if f.app == app && (f.function == "" || f.function == record.Function) {
			select {
			case f.feed <- record:
			default:
			}
		}
	}
	select {
	case l.queue <- logEntry{app: app, record: record}:
	default:
		l.dropped.Inc()
	}
}

// EndFollowers ends every follower and takes no more, so that long answers do
// not hold up a shutdown.
func (l *Book) EndFollowers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
	for f := range l.followers {
		close(f.feed)
	}
	clear(l.followers)
}

// Stop writes what is queued and ends the writer and every follower.
func (l *Book) Stop() {
	l.EndFollowers()
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	writer := l.writer
	l.mu.Unlock()
	writer.Stop()
}

// Follow feeds records of a function (or of the whole app, if function is
// empty) until ctx ends or the node stops; then the channel is closed.
func (l *Book) Follow(ctx context.Context, app, function string) (<-chan picloud.LogRecord, error) {
	f := &follower{app: app, function: function, feed: make(chan picloud.LogRecord, followBuffer)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining {
		return nil, &picloud.Error{Code: picloud.CodeDraining, Op: "follow logs", RetryAfter: time.Second}
	}
	if len(l.followers) >= maxFollowers {
		return nil, &picloud.Error{
			Code: picloud.CodeQueueFull, Op: "follow logs", RetryAfter: 10 * time.Second,
			Detail: fmt.Sprintf("this node already has %d followers", maxFollowers),
		}
	}
	l.followers[f] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, ok := l.followers[f]; ok {
			delete(l.followers, f)
			close(f.feed)
		}
	})
	return f.feed, nil
}

// sync waits until everything logged so far can be read back, or ctx ends.
func (l *Book) sync(ctx context.Context) {
	synced := make(chan struct{})
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	select {
	case l.queue <- logEntry{synced: synced}:
	default: // a full queue means that newer records are being dropped anyway
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	select {
	case <-synced:
	case <-ctx.Done():
	}
}

// write is the writer's goroutine. It flushes when the queue runs empty or
// logFlush after the first unwritten record; an idle node has no timer running.
func (l *Book) write() {
	files := logFiles{dir: l.dir, open: map[string]*logFile{}}
	defer files.closeAll()
	var flush <-chan time.Time
	failing := false // a full disk fails every record: say so once
	report := func(op string, err error) {
		if err != nil && !failing {
			l.log.Error(op+"; records are lost until it works again", slog.Any("error", err))
		}
		failing = err != nil
	}
	for {
		select {
		case e, ok := <-l.queue:
			if !ok {
				report("flush function logs", files.flush())
				return
			}
			if e.synced != nil {
				report("flush function logs", files.flush())
				close(e.synced)
				continue
			}
			if e.forget {
				report("remove logs of deleted app", files.remove(e.app))
				continue
			}
			report("write function log", files.append(e.app, e.record))
			if flush == nil {
				flush = time.After(logFlush)
			}
		case <-flush:
			flush = nil
			report("flush function logs", files.flush())
		}
	}
}

// EndApp removes the logs of an app that is gone, and takes no more records of its
// calls, the last of which had the given id.
func (l *Book) EndApp(app, last string) {
	l.mu.Lock()
	maps.DeleteFunc(l.ends, func(_ string, e logEnd) bool { return time.Since(e.at) > lateCalls })
	l.ends[app] = logEnd{last, time.Now()}
	l.mu.Unlock()
	l.Forget(app)
}

// Forget removes the logs of an app that has no function any more.
func (l *Book) Forget(app string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	select {
	case l.queue <- logEntry{app: app, forget: true}:
	default: // the files stay, bounded as they are
	}
}

// logFiles are the open files of the writer.
type logFiles struct {
	dir  string
	open map[string]*logFile
}

type logFile struct {
	file *os.File
	buf  *bufio.Writer
	size int64
}

func (lf *logFiles) append(app string, record picloud.LogRecord) error {
	f, err := lf.get(app)
	if err != nil {
		return err
	}
	line, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode log record: %w", err)
	}
	f.size += int64(len(line)) + 1
	if _, err := f.buf.Write(append(line, '\n')); err != nil {
		lf.drop(app)
		return err
	}
	if f.size < maxLogFile {
		return nil
	}
	err = f.buf.Flush()
	lf.drop(app)
	if err != nil {
		return err
	}
	return os.Rename(lf.path(app), lf.path(app)+".1")
}

// remove deletes an app's files.
func (lf *logFiles) remove(app string) error {
	lf.drop(app)
	var errs []error
	for _, path := range []string{lf.path(app), lf.path(app) + ".1"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (lf *logFiles) path(app string) string { return filepath.Join(lf.dir, app+".log") }

func (lf *logFiles) get(app string) (*logFile, error) {
	if f := lf.open[app]; f != nil {
		return f, nil
	}
	if len(lf.open) >= maxOpenLogs {
		if err := lf.flush(); err != nil {
			return nil, err
		}
		lf.closeAll()
	}
	file, err := os.OpenFile(lf.path(app), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	f := &logFile{file: file, buf: bufio.NewWriterSize(file, 16<<10), size: info.Size()}
	lf.open[app] = f
	return f, nil
}

func (lf *logFiles) drop(app string) {
	if f := lf.open[app]; f != nil {
		f.file.Close()
		delete(lf.open, app)
	}
}

func (lf *logFiles) flush() error {
	var errs []error
	for app, f := range lf.open {
		if err := f.buf.Flush(); err != nil {
			errs = append(errs, err)
			lf.drop(app) // a bufio.Writer repeats its first error for ever
		}
	}
	return errors.Join(errs...)
}

func (lf *logFiles) closeAll() {
	for app := range lf.open {
		lf.drop(app)
	}
}
