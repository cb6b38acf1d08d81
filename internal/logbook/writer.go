package logbook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	// logFlush is how long a record may wait in memory.
	logFlush = 100 * time.Millisecond
	// logRetry is when the writer tries again after the disk refused.
	logRetry = time.Second
)

// write is the writer's goroutine. An idle node has no timer running.
func (l *Book) write(ctx context.Context) {
	files := &logFiles{book: l, open: map[string]*logFile{}}
	defer files.closeAll()
	var flush <-chan time.Time
	failing := false
	for {
		select {
		case <-l.wake:
			if flush == nil {
				flush = time.After(logFlush)
			}
			continue
		case <-flush:
		case <-l.hurry:
		case <-ctx.Done():
			l.report(l.round(files), failing)
			return
		}
		flush = nil
		err := l.round(files)
		l.report(err, failing)
		if failing = err != nil; failing {
			flush = time.After(logRetry)
		}
	}
}

// report tells the node's log when the disk begins to refuse, and when it takes
// records again: a full disk fails every round.
func (l *Book) report(err error, failing bool) {
	switch {
	case err != nil && !failing:
		l.log.Error("function logs cannot be written; records wait in memory, and are dropped when there is no more room for them", slog.Any("error", err))
	case err == nil && failing:
		l.log.Warn("function logs are written again")
	}
}

// round writes what came since the round before.
func (l *Book) round(files *logFiles) error {
	l.mu.Lock()
	work, waiting := l.buffers.take(), l.waiting
	l.waiting = nil
	l.mu.Unlock()
	var errs []error
	for _, b := range work {
		written, err := 0, error(nil)
		if b.forget {
			if err = files.remove(b.app); err != nil {
				err = fmt.Errorf("remove logs of app %s: %w", b.app, err)
			}
		}
		if err == nil {
			if written, err = files.write(b.app, b.entries); err != nil {
				err = fmt.Errorf("write log of app %s: %w", b.app, err)
			}
		}
		errs = append(errs, err)
		l.mu.Lock()
		l.buffers.settle(b, written, err != nil)
		for f := range l.followers[b.app] {
			signal(f.wake)
		}
		l.mu.Unlock()
	}
	for _, synced := range waiting {
		close(synced)
	}
	return errors.Join(errs...)
}
