package logbook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/picloud/picloud"
)

// follower is one who follows the log of an app. Its handler reads; the book wakes it.
type follower struct {
	app   string
	wake  chan struct{}
	ended chan struct{} // closed when it is to stop
}

// Follow returns a function that reads a log on and on. Each call returns the next
// records, at least one, and waits for them until its own context ends. It returns
// io.EOF when the node drains or the app is gone. The records are valid until the next
// call. All ends with ctx.
//
// The first records are those that come after q.After. Without it they are the newest
// that q asks for, and after them comes a line without JSON: its position is where the
// log ended when Follow was called, for a reader whose connection breaks before it has
// a record.
//
// A follower holds one chunk of a file, or one long line, whatever it asks for.
func (l *Book) Follow(ctx context.Context, q picloud.LogQuery) (next func(context.Context) ([]picloud.LogLine, error), err error) {
	if err := picloud.CheckName("app", q.App); err != nil {
		return nil, err // the name becomes a file name
	}
	f := &follower{app: q.App, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := l.enter(ctx, f); err != nil {
		return nil, err
	}
	r := &reader{book: l, follower: f, q: q, cursor: cursor{book: l, app: q.App, last: q.After}}
	if q.After == (picloud.LogPosition{}) {
		if err := r.start(ctx); err != nil {
			return nil, err
		}
	}
	context.AfterFunc(ctx, r.release)
	return r.next, nil
}

// enter adds a follower until ctx ends.
func (l *Book) enter(ctx context.Context, f *follower) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining {
		return &picloud.Error{Code: picloud.CodeDraining, Op: "follow logs", RetryAfter: time.Second}
	}
	if l.followers[f.app] == nil {
		l.followers[f.app] = map[*follower]struct{}{}
	}
	l.followers[f.app][f] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.end(f)
	})
	return nil
}

// end stops a follower. The caller holds mu.
func (l *Book) end(f *follower) {
	if _, ok := l.followers[f.app][f]; !ok {
		return
	}
	delete(l.followers[f.app], f)
	if len(l.followers[f.app]) == 0 {
		delete(l.followers, f.app)
	}
	close(f.ended)
}

// reader reads the log for one follower.
type reader struct {
	book     *Book
	follower *follower
	q        picloud.LogQuery
	mark     *picloud.LogPosition // where the log ended at the start; nil: it was told
	atMark   bool                 // no record comes before the mark

	mu     sync.Mutex // guards the cursor against release
	cursor cursor
	gone   bool
}

// release closes what the reader holds.
func (r *reader) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cursor.close()
	r.gone = true
}

// read returns the next lines of the file.
func (r *reader) read() (heads []head, lines [][]byte, missing int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil, nil, 0, io.EOF
	}
	return r.cursor.next()
}

// start puts the cursor before the newest records that the query asks for.
func (r *reader) start(ctx context.Context) error {
	r.book.sync(ctx)
	v, err := r.book.look(r.q.App)
	if err != nil {
		return err
	}
	defer v.close()
	r.mark, r.atMark = &picloud.LogPosition{Time: time.Now().UTC()}, true // of a log that has no record yet
	if len(v.files) == 0 {
		return nil
	}
	from, err := v.begin(ctx, &r.q)
	if err != nil {
		return fmt.Errorf("read logs of app %s: %w", r.q.App, err)
	}
	if from.end != (picloud.LogPosition{}) {
		r.mark = &from.end
	}
	r.atMark = from.records == 0
	r.cursor.last, r.cursor.file, r.cursor.offset = from.before, v.files[from.file], from.offset
	if r.atMark {
		r.cursor.last = *r.mark
	}
	v.files = slices.Delete(v.files, from.file, from.file+1) // the cursor closes it
	return nil
}

// tellMark returns the line without JSON.
func (r *reader) tellMark() picloud.LogLine {
	line := picloud.LogLine{LogPosition: *r.mark}
	r.mark = nil
	return line
}

// next implements what Follow returns.
func (r *reader) next(ctx context.Context) ([]picloud.LogLine, error) {
	if r.mark != nil && r.atMark {
		return []picloud.LogLine{r.tellMark()}, nil
	}
	for {
		select {
		case <-r.follower.ended:
			return nil, io.EOF
		default:
		}
		heads, lines, missing, err := r.read()
		if err != nil {
			return nil, err
		}
		var out []picloud.LogLine
		if missing != 0 && r.q.Call == "" {
			out = append(out, r.book.rotatedAway(missing))
		}
		for i := range heads {
			if wants(&r.q, &heads[i]) && !heads[i].Time.Before(r.q.Since) {
				out = append(out, picloud.LogLine{LogPosition: heads[i].position(), JSON: bytes.TrimSpace(lines[i])})
			}
			if r.mark != nil && r.mark.Seq > 0 && heads[i].Seq >= r.mark.Seq {
				out = append(out, r.tellMark())
			}
		}
		if len(lines) == 0 && r.mark != nil {
			out = append(out, r.tellMark())
		}
		if len(out) > 0 {
			return out, nil
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-r.follower.wake:
		case <-r.follower.ended:
			return nil, io.EOF
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
