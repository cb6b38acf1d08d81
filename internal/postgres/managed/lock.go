package managed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/picloud/picloud"
)

// DirLock is the exclusive use of a data folder.
type DirLock struct{ file *os.File }

// Lock takes the data folder for this process: no two agents share one. It
// fails at once when another process has it, and says which. The folder is
// made when it is missing.
func Lock(dir string) (*DirLock, error) {
	if err := makeDataDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskError("lock data folder", dir, err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
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
		return nil, diskError("lock data folder", dir, err)
	}
	return &DirLock{file}, nil
}

// Unlock gives the folder back.
func (l *DirLock) Unlock() {
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
