package logbook

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/picloud/picloud"
)

// unknown is a number of missing records that nobody knows.
const unknown = -1

// cursor reads the log of one app forwards. It follows the file that it reads when that
// is rotated, and goes on with the next one. It holds one file and one chunk of it.
type cursor struct {
	book   *Book
	app    string
	last   picloud.LogPosition // of the last line that was read; zero: from the oldest line on
	file   *os.File            // nil: to be found
	offset int64               // of the next line
	seen   int64               // how much of the file was looked at
	buf    []byte
}

// next returns the heads and the lines that come next: none when there are no more now.
// missing is how many records are gone before them. The lines are valid until the next
// call.
func (c *cursor) next() (heads []head, lines [][]byte, missing int64, err error) {
	for {
		if c.file == nil {
			if missing, err = c.find(); err != nil || c.file == nil {
				return nil, nil, 0, err
			}
		}
		if heads, lines, err = c.fill(); err != nil || len(lines) > 0 || missing != 0 {
			return heads, lines, missing, err
		}
		more, err := c.move()
		if err != nil || !more {
			return nil, nil, 0, err
		}
	}
}

// fill reads a chunk of the file.
func (c *cursor) fill() (heads []head, lines [][]byte, err error) {
	if len(c.buf) > chunk || c.buf == nil { // a long line is past
		c.buf = make([]byte, chunk)
	}
	for {
		n, err := c.file.ReadAt(c.buf, c.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		c.seen = c.offset + int64(n)
		rest := c.buf[:n]
		for {
			line, after, found := bytes.Cut(rest, []byte("\n"))
			if !found {
				break
			}
			rest = after
			c.offset += int64(len(line)) + 1
			h, whole := headOf(line)
			if !whole {
				continue
			}
			c.last = h.position()
			heads, lines = append(heads, h), append(lines, line)
		}
		switch {
		case len(lines) > 0 || n < len(c.buf):
			return heads, lines, nil
		case len(rest) < n: // only torn lines
		case len(c.buf) < maxLine:
			c.buf = make([]byte, 2*len(c.buf))
		default: // no line is that long
			c.offset += int64(n)
		}
	}
}

// move goes on after the end of the file. It reports whether there is more to read now.
func (c *cursor) move() (bool, error) {
	c.book.rotating.RLock()
	defer c.book.rotating.RUnlock()
	info, err := c.file.Stat()
	if err != nil {
		return false, err
	}
	switch {
	case info.Size() < c.offset: // somebody cut it
		c.close()
		return true, nil
	case isAt(info, current(c.book.dir, c.app)):
		return false, nil
	case info.Size() > c.seen: // it got its last lines before it was rotated
		return true, nil
	case !isAt(info, older(c.book.dir, c.app)):
		c.close()
		return true, nil
	}
	next, err := os.Open(current(c.book.dir, c.app))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.close()
	c.file, c.offset = next, 0
	return true, nil
}

// find opens the file that holds the line after the last one. It returns how many
// records were lost since.
func (c *cursor) find() (missing int64, err error) {
	v, err := c.book.look(c.app)
	if err != nil || len(v.files) == 0 {
		return 0, err
	}
	at, offset, missing, err := c.byNumber(v)
	if at < 0 && err == nil {
		at, offset, missing, err = c.byTime(v)
	}
	if err != nil {
		v.close()
		return 0, err
	}
	c.file, c.offset = v.files[at], offset
	for i, f := range v.files {
		if i != at {
			f.Close()
		}
	}
	return missing, nil
}

// byNumber looks for the last line by its number, and returns the place after it. When
// the files that held it are gone, it returns the oldest line. at is -1 when the log
// does not know the last line.
func (c *cursor) byNumber(v *view) (at int, offset, missing int64, err error) {
	at = -1
	for i := len(v.files) - 1; i >= 0 && at < 0; i-- { // the oldest first
		first, unlike := true, false
		err = forwards(v.files[i], v.sizes[i], func(line []byte, from int64) bool {
			seq := seqOf(line)
			begins := first
			first = false
			switch {
			case c.last == picloud.LogPosition{}, begins && seq == c.last.Seq+1:
				at, offset = i, from
			case begins && seq > c.last.Seq && c.last.Seq > 0:
				at, offset, missing = i, from, seq-c.last.Seq-1
			case seq == c.last.Seq && seq > 0:
				h, whole := headOf(line)
				if unlike = !whole || !h.Time.Equal(c.last.Time); !unlike {
					at, offset = i, from+int64(len(line))
				}
			default:
				return true
			}
			return false
		})
		if err != nil || unlike {
			return -1, 0, 0, err
		}
	}
	return at, offset, missing, nil
}

// byTime looks for the first line that is younger than the last one, in a log that was
// cut or that began anew. When there is none, what comes next is.
func (c *cursor) byTime(v *view) (at int, offset, missing int64, err error) {
	at, offset = 0, v.sizes[0]
	for i := len(v.files) - 1; i >= 0 && missing == 0; i-- {
		err = forwards(v.files[i], v.sizes[i], func(line []byte, from int64) bool {
			h, whole := headOf(line)
			if !whole || !h.Time.After(c.last.Time) {
				return true
			}
			at, offset, missing = i, from, unknown
			return false
		})
		if err != nil {
			return 0, 0, 0, err
		}
	}
	if missing == 0 {
		offset, _, err = lastLine(v.files[0], v.sizes[0])
	}
	return at, offset, missing, err
}

func (c *cursor) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// forwards calls take for each whole line of the first size bytes of a file, with the
// newline that it ends with and the place where it begins, until take returns false.
func forwards(f *os.File, size int64, take func(line []byte, from int64) bool) error {
	buf := make([]byte, chunk)
	for offset := int64(0); offset < size; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-offset)], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		rest := buf[:n]
		for {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			if !take(rest[:i+1], offset+int64(n-len(rest))) {
				return nil
			}
			rest = rest[i+1:]
		}
		switch {
		case n < len(buf):
			return nil // what is left is no whole line
		case len(rest) < n:
			offset += int64(n - len(rest))
		case len(buf) < maxLine:
			buf = make([]byte, 2*len(buf))
		default:
			offset += int64(n)
		}
	}
	return nil
}
