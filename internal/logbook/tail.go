package logbook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/picloud/picloud"
)

const (
	// maxTail is how many log records one answer can hold; the API asks for no more.
	maxTail = 1000
	// maxTailSize bounds the records of one answer, in bytes.
	maxTailSize = 2 << 20
)

// Tail returns the newest records that a query asks for, the oldest first: at most
// q.Limit of them, and no more than maxTailSize bytes. It asks for the room of each
// before it holds it, and fails with the error of room.
func (l *Book) Tail(ctx context.Context, q picloud.LogQuery, room func(bytes int64) error) ([]picloud.LogLine, error) {
	if err := picloud.CheckName("app", q.App); err != nil {
		return nil, err // the name becomes a file name
	}
	l.sync(ctx)
	view, err := l.look(q.App)
	if err != nil {
		return nil, err
	}
	defer view.close()
	return l.newest(ctx, view, &q, room)
}

// view holds the files of an app open as they were at one moment, the newest first.
// What happens to them later does not matter to its reader.
type view struct {
	files []*os.File
	sizes []int64
}

func (v *view) close() {
	for _, f := range v.files {
		f.Close()
	}
}

// look opens the files of an app.
func (l *Book) look(app string) (*view, error) {
	l.rotating.RLock()
	defer l.rotating.RUnlock()
	v := &view{}
	for _, path := range []string{current(l.dir, app), older(l.dir, app)} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var info fs.FileInfo
		if err == nil {
			v.files = append(v.files, f)
			info, err = f.Stat()
		}
		if err != nil {
			v.close()
			return nil, fmt.Errorf("read logs of app %s: %w", app, err)
		}
		v.sizes = append(v.sizes, info.Size())
	}
	return v, nil
}

// beginning is the place from which a reader gets the newest records that a query asks
// for.
type beginning struct {
	file    int // of the view
	offset  int64
	records int                 // that the query asks for
	before  picloud.LogPosition // of the record before them
	end     picloud.LogPosition // of the last record of the log; zero: it has none
}

// begin looks for the newest records backwards, and holds none of them. The view has a
// file at least.
func (v *view) begin(ctx context.Context, q *picloud.LogQuery) (b beginning, err error) {
	if v.sizes[0], _, err = lastLine(v.files[0], v.sizes[0]); err != nil {
		return b, err
	}
	b.offset = v.sizes[0]
	var first picloud.LogPosition
	done := false
	for i, f := range v.files {
		err := backwards(f, v.sizes[i], func(line []byte, from int64) bool {
			h, whole := headOf(line)
			if !whole {
				return ctx.Err() == nil
			}
			at := h.position()
			if b.end == (picloud.LogPosition{}) {
				b.end = at
			}
			if done = b.records >= q.Limit || h.Time.Before(q.Since); done {
				b.before = at
				return false
			}
			if wants(q, &h) {
				b.file, b.offset, first = i, from, at
				b.records++
			}
			return ctx.Err() == nil
		})
		if err != nil || done || ctx.Err() != nil {
			break
		}
	}
	if !done && b.records > 0 { // the log begins with them, or with records that nobody asks for
		b.before = picloud.LogPosition{Seq: max(first.Seq-1, 0), Time: first.Time.Add(-1)}
	}
	return b, cmp.Or(err, ctx.Err())
}

// newest reads a view backwards.
func (l *Book) newest(ctx context.Context, v *view, q *picloud.LogQuery, room func(int64) error) ([]picloud.LogLine, error) {
	limit := q.Limit
	if limit <= 0 || limit > maxTail {
		limit = maxTail
	}
	var out []picloud.LogLine
	size, done := 0, false
	var full error
	take := func(line []byte, _ int64) bool {
		h, whole := headOf(line)
		switch {
		case !whole || ctx.Err() != nil:
			return ctx.Err() == nil
		case h.Time.Before(q.Since):
			done = true
		case !wants(q, &h):
		case size+len(line) > maxTailSize:
			out = append(out, l.aside(l.gap(-1, "older records are left out here: one answer holds "+picloud.Size(maxTailSize).String()+" of them at most")))
			done = true
		default:
			if full = room(int64(len(line))); full != nil {
				return false
			}
			out = append(out, picloud.LogLine{LogPosition: h.position(), JSON: bytes.Clone(bytes.TrimSuffix(line, []byte("\n")))})
			size += len(line)
			done = len(out) == limit
		}
		return !done
	}
	for i, f := range v.files {
		if err := backwards(f, v.sizes[i], take); err != nil {
			return nil, fmt.Errorf("read logs of app %s: %w", q.App, err)
		}
		if full != nil {
			return nil, full
		}
		if done || ctx.Err() != nil {
			break
		}
	}
	slices.Reverse(out)
	return out, ctx.Err()
}

// backwards calls take for each line of the first size bytes of a file, the last first,
// with the newline that it ends with and the place where it begins, until take returns
// false.
func backwards(f *os.File, size int64, take func(line []byte, from int64) bool) error {
	var rest []byte // the beginning of the line whose end was read before
	for offset := size; offset > 0; {
		n := min(offset, chunk)
		offset -= n
		block := make([]byte, n, int(n)+len(rest))
		if _, err := f.ReadAt(block, offset); err != nil {
			return err
		}
		block = append(block, rest...)
		for {
			i := bytes.LastIndexByte(block[:max(len(block)-1, 0)], '\n') // before its own newline
			if i < 0 {
				break
			}
			if !take(block[i+1:], offset+int64(i+1)) {
				return nil
			}
			block = block[:i+1]
		}
		rest = block
	}
	if len(rest) > 0 {
		take(rest, 0)
	}
	return nil
}
