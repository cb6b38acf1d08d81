package logbook

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// maxLogFile is the size at which an app's log file is rotated. The current
	// and one older file are kept: 16 MB per app.
	maxLogFile = 8 << 20
	// maxOpenLogs bounds the file handles of the writer.
	maxOpenLogs = 32
	// chunk is how much is written, or read, at once.
	chunk = 64 << 10
)

// logFiles are the open files of the writer.
type logFiles struct {
	book  *Book
	open  map[string]*logFile
	turn  int    // counts uses of files
	ready []byte // lines on their way into a file
}

type logFile struct {
	file *os.File
	size int64
	seq  int64 // of the last line
	used int   // the turn of its last use
}

func current(dir, app string) string { return filepath.Join(dir, app+".log") }
func older(dir, app string) string   { return filepath.Join(dir, app+".log.1") }

// write appends entries to the file of an app, and rotates it when it is full. It
// returns how many entries are in the file. Those after them are not, not in part either.
func (lf *logFiles) write(app string, entries []entry) (written int, err error) {
	for written < len(entries) {
		f, err := lf.get(app)
		if err != nil {
			return written, err
		}
		lf.ready = lf.ready[:0]
		n := written
		for ; n < len(entries) && len(lf.ready) < chunk && f.size+int64(len(lf.ready)) < maxLogFile; n++ {
			line := entries[n].line
			if line == nil {
				line = lf.book.droppedHere(entries[n])
			}
			lf.ready = numbered(lf.ready, line, f.seq+int64(n-written)+1)
		}
		wrote, err := f.file.Write(lf.ready)
		if err != nil {
			// What is a whole line stays. The rest is cut off: it comes again.
			lines := bytes.Count(lf.ready[:wrote], []byte("\n"))
			_ = f.file.Truncate(f.size + int64(bytes.LastIndexByte(lf.ready[:wrote], '\n')+1))
			lf.drop(app) // what it holds now is read again
			return written + lines, err
		}
		f.size += int64(wrote)
		f.seq += int64(n - written)
		written = n
		if f.size >= maxLogFile {
			if err := lf.rotate(app); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// rotate makes the current file of an app the older one.
func (lf *logFiles) rotate(app string) error {
	lf.book.rotating.Lock()
	defer lf.book.rotating.Unlock()
	lf.drop(app)
	return os.Rename(current(lf.book.dir, app), older(lf.book.dir, app))
}

// remove deletes an app's files.
func (lf *logFiles) remove(app string) error {
	lf.book.rotating.Lock()
	defer lf.book.rotating.Unlock()
	lf.drop(app)
	var errs []error
	for _, path := range []string{current(lf.book.dir, app), older(lf.book.dir, app)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// get returns the open file of an app. It opens another one when somebody moved or
// removed it.
func (lf *logFiles) get(app string) (*logFile, error) {
	lf.turn++
	path := current(lf.book.dir, app)
	if f := lf.open[app]; f != nil {
		if info, err := f.file.Stat(); err == nil && isAt(info, path) {
			f.used, f.size = lf.turn, info.Size()
			return f, nil
		}
		lf.drop(app)
	}
	if len(lf.open) >= maxOpenLogs {
		lf.dropOldest()
	}
	f, err := openLog(path, older(lf.book.dir, app))
	if err != nil {
		return nil, err
	}
	f.used = lf.turn
	lf.open[app] = f
	return f, nil
}

// openLog opens the file of an app to append to it, and finds out the number of its
// last line. Half a line at its end, which a crash left, is cut off.
func openLog(path, before string) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f := &logFile{file: file}
	info, err := file.Stat()
	if err == nil {
		f.size, f.seq, err = lastLine(file, info.Size())
	}
	if err == nil && f.size == 0 {
		f.seq, err = lastSeq(before)
	}
	if err == nil && f.size < info.Size() {
		err = file.Truncate(f.size)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return f, nil
}

// lastSeq returns the number of the last line of a file; 0: there is none.
func lastSeq(path string) (int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	_, seq, err := lastLine(file, info.Size())
	return seq, err
}

// lastLine returns where the last whole line in the first size bytes of a file ends,
// and the number of the last line that has one.
func lastLine(file *os.File, size int64) (end, seq int64, err error) {
	end = -1
	err = backwards(file, size, func(line []byte, from int64) bool {
		if line[len(line)-1] != '\n' {
			return true
		}
		if end < 0 {
			end = from + int64(len(line))
		}
		seq = seqOf(line)
		return seq == 0
	})
	return max(end, 0), seq, err
}

func (lf *logFiles) dropOldest() {
	var oldest string
	for app, f := range lf.open {
		if oldest == "" || f.used < lf.open[oldest].used {
			oldest = app
		}
	}
	lf.drop(oldest)
}

func (lf *logFiles) drop(app string) {
	if f := lf.open[app]; f != nil {
		f.file.Close()
		delete(lf.open, app)
	}
}

func (lf *logFiles) closeAll() {
	for app := range lf.open {
		lf.drop(app)
	}
}

// isAt reports whether a file is the one at a path.
func isAt(info fs.FileInfo, path string) bool {
	at, err := os.Stat(path)
	return err == nil && os.SameFile(info, at)
}
