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

// Lock is the exclusive use of a data folder.
type Lock struct{ file *os.File }

// Acquire takes the data folder for this process: no two nodes share one. It
// fails soon with CodeConflict when somebody has it, and says who. The
// folder exists, see Prepare.
func Acquire(dir string) (*Lock, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unusable("lock data folder", dir, err)
	}
	err = flock(file)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer file.Close()
		return nil, &picloud.Error{
			Code: picloud.CodeConflict, Op: "lock data folder", Resource: dir,
			Detail: "it is in use by " + holder(file),
			Hint:   "stop that process, or give this node a data folder of its own with PICLOUD_DATA",
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
)

func flock(file *os.File) error {
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

// holder names the process that wrote its number into the lock.
func holder(file *os.File) string {
	b := make([]byte, 20)
	n, _ := file.ReadAt(b, 0) // an empty lock is one that is being taken
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}
