package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/picloud/picloud"
)

// lockFile names the process that has the folder; the kernel's lock on it
// counts, and goes with the process, however that ends.
const lockFile = "lock"

// LockPath is the path of the lock of a data folder.
func LockPath(dir string) string { return filepath.Join(dir, lockFile) }

// Lock is the exclusive use of a data folder.
type Lock struct{ file *os.File }

// Acquire takes the data folder for this process: no two nodes share one. It
// fails soon with CodeConflict when somebody has it, and says who. The
// folder exists, see Prepare.
func Acquire(dir string) (*Lock, error) {
	file, err := os.OpenFile(LockPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable("lock data folder", dir, err)
	}
	err = flock(file, patience)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer file.Close()
		return nil, &picloud.Error{
			Code: picloud.CodeConflict, Op: "lock data folder", Resource: dir,
			Detail: "it is in use by " + holder(file),
			Hint: "`picloud status` shows the node that runs, `picloud stop` ends it" + ofFolder(dir) +
				"; or give this node a data folder of its own with PICLOUD_DATA",
		}
	}
	if err == nil {
		err = write(file, strconv.Itoa(os.Getpid())+"\n")
	}
	if err != nil {
		file.Close()
		return nil, unusable("lock data folder", dir, err)
	}
	return &Lock{file}, nil
}

const (
	// patience is how long Acquire waits for the lock. A process that was killed
	// while it started another leaves the lock to that one until it executes its
	// program.
	patience = 500 * time.Millisecond
	// lockRetry is how often Acquire tries meanwhile: the kernel tells nobody
	// that a lock is free.
	lockRetry = patience / 20
	// holdTime is how long Hold waits: whoever holds a folder does so for milliseconds.
	holdTime = 5 * time.Second
)

// Hold keeps other processes that hold a folder out until release is called, for a change
// of a file in it that depends on what the file holds. It gives up after some seconds. On a
// file system that locks no folders it keeps nobody out.
func Hold(dir string) (release func(), err error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	switch err := flock(file, holdTime); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		file.Close()
		return nil, fmt.Errorf("another command has been changing files in %s for %s", dir, holdTime)
	case err != nil && !errors.Is(err, syscall.EBADF) && !errors.Is(err, syscall.ENOLCK) && !errors.Is(err, syscall.ENOTSUP):
		file.Close()
		return nil, fmt.Errorf("lock folder %s: %w", dir, err)
	}
	return func() { file.Close() }, nil
}

// flock locks a file. It tries for the time of patience.
func flock(file *os.File, patience time.Duration) error {
	deadline, retry := time.NewTimer(patience), time.NewTicker(lockRetry)
	defer deadline.Stop()
	defer retry.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-retry.C:
		case <-deadline.C:
			return err
		}
	}
}

// Dir returns the locked folder; that of a nil lock is empty.
func (l *Lock) Dir() string {
	if l == nil {
		return ""
	}
	return filepath.Dir(l.file.Name())
}

// Release gives the folder back. A nil lock is fine.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	_ = l.file.Truncate(0) // closing is what counts; the number in it is for people
	l.file.Close()
}

func write(file *os.File, text string) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

// ofFolder is what the commands need to be told to find the node of a folder.
func ofFolder(dir string) string { return " (with --data " + Quote(dir) + ")" }

// Quote writes a path so that a shell reads it as one word.
func Quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@:,=", r)
	}
	if path != "" && strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// holder names the process that wrote its number into the lock.
func holder(file *os.File) string {
	pid := holderPID(file)
	if pid == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}

// holderPID is the number in a lock; 0: none, as in one that is being taken.
func holderPID(file *os.File) int {
	b := make([]byte, 20)
	n, _ := file.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

// Holder finds out whether a process has a data folder, without taking it. The
// number of the process is 0 when it cannot be known for sure: it counts in the
// process's own namespace, and a container may have another one.
func Holder(dir string) (pid int, held bool, err error) {
	file, err := os.Open(LockPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, unusable("read lock of data folder", dir, err)
	}
	defer file.Close()
	// A shared lock for a moment: another Holder does not take it for a node's.
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if err == nil {
		return 0, false, nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return 0, false, unusable("read lock of data folder", dir, err)
	}
	if pid = holderPID(file); !hasOpen(pid, file) {
		pid = 0
	}
	return pid, true, nil
}

// hasOpen reports whether a process has a file open, as far as /proc tells us.
func hasOpen(pid int, file *os.File) bool {
	want, err := file.Stat()
	if err != nil || pid == 0 {
		return false
	}
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, path := range descriptors {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, want) {
			return true
		}
	}
	return false
}
