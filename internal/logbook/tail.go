package logbook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/picloud/picloud"
)

// maxTail is how many log records one request can read; the API asks for no more.
const maxTail = 1000

// Tail returns the newest n records of a function (or of the whole app, if
// function is empty) since the given time, the oldest first.
func (l *Book) Tail(ctx context.Context, app, function string, n int, since time.Time) ([]picloud.LogRecord, error) {
	if err := picloud.CheckName("app", app); err != nil {
		return nil, err // the name becomes a file name
	}
	if n <= 0 || n > maxTail {
		n = maxTail
	}
	l.sync(ctx)
	var out []picloud.LogRecord
	take := func(line []byte) bool {
		var r picloud.LogRecord
		if json.Unmarshal(line, &r) != nil {
			return true // a line torn by a crash
		}
		if r.Time.Before(since) {
			return false
		}
		if function == "" || r.Function == function {
			out = append(out, r)
		}
		return len(out) < n
	}
	for _, name := range []string{app + ".log", app + ".log.1"} {
		more, err := readLinesBackwards(filepath.Join(l.dir, name), take)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read logs of app %s: %w", app, err)
		}
		if !more {
			break
		}
	}
	slices.Reverse(out)
	return out, nil
}

// readLinesBackwards calls take for each line of a file, the last first, until
// it returns false. It reports whether take wanted more.
func readLinesBackwards(path string, take func(line []byte) bool) (more bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return true, err
	}
	defer f.Close()
	offset, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return true, err
	}
	var rest []byte // the beginning of the line whose end was read before
	for offset > 0 {
		size := min(offset, 64<<10)
		offset -= size
		block := make([]byte, size, int(size)+len(rest))
		if _, err := f.ReadAt(block, offset); err != nil {
			return true, err
		}
		block = append(block, rest...)
		for {
			i := bytes.LastIndexByte(block, '\n')
			if i < 0 {
				break
			}
			if line := block[i+1:]; len(line) > 0 && !take(line) {
				return false, nil
			}
			block = block[:i]
		}
		rest = block
	}
	if len(rest) > 0 {
		return take(rest), nil
	}
	return true, nil
}
