package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/picloud/picloud"
)

// PrepareDataDir makes the data folder and proves that it can be written. The
// folder is 0711, not 0700, since the managed PostgreSQL may have another uid
// and must get through; everything private inside is 0600 or 0700.
func PrepareDataDir(dir string) error {
	err := os.MkdirAll(dir, 0o711)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".writable-"); err == nil {
			_, err = probe.WriteString("x") // a full disk lets files be made, but not filled
			err = errors.Join(err, probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: "use data folder", Resource: dir, Err: err,
			Hint: "make it writable for this user and see that the disk has room, or choose another folder with PICLOUD_DATA or --data",
		}
	}
	return nil
}

// maxSocketDir leaves room for the longest socket name below a run folder: the
// kernel takes paths of 107 bytes.
const maxSocketDir = 80

// RunDir makes and returns the folder for a node's sockets: data/run, or, where
// that path is too long for a socket, a private folder below the temporary one.
func RunDir(dataDir string) (string, error) {
	dir := filepath.Join(dataDir, "run")
	if len(dir) > maxSocketDir {
		sum := sha256.Sum256([]byte(dataDir))
		dir = filepath.Join(os.TempDir(), "picloud-"+strconv.Itoa(os.Geteuid())+"-"+hex.EncodeToString(sum[:6]))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("create run folder: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("create run folder: %w", err)
	}
	if !info.IsDir() || !ownedByUs(info) {
		return "", &picloud.Error{
			Code: picloud.CodeInvalid, Op: "use run folder", Resource: dir, Detail: "it belongs to somebody else",
			Hint: "remove it, or choose a shorter data folder with PICLOUD_DATA",
		}
	}
	return dir, nil
}

// locks are the data folders that this process holds. `picloud run` takes the
// lock before Caddy starts, and the node, started by Caddy, takes it again.
var locks struct {
	mu   sync.Mutex
	held map[string]*heldLock
}

type heldLock struct {
	file *os.File
	refs int
}

// LockDataDir makes this process the only one that uses a data folder. The
// kernel drops the lock when the process ends, however it ends.
func LockDataDir(dir string) (unlock func(), err error) {
	locks.mu.Lock()
	defer locks.mu.Unlock()
	if locks.held == nil {
		locks.held = map[string]*heldLock{}
	}
	l := locks.held[dir]
	if l == nil {
		file, err := os.OpenFile(filepath.Join(dir, "node.lock"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock data folder: %w", err)
		}
		if err := flock(file); err != nil {
			file.Close()
			return nil, &picloud.Error{
				Code: picloud.CodeConflict, Op: "use data folder", Resource: dir, Detail: "another node uses it" + holder(dir),
				Hint: "stop that node, or give this one its own folder with PICLOUD_DATA or --data",
			}
		}
		if err := recordHolder(file); err != nil {
			file.Close()
			return nil, err
		}
		l = &heldLock{file: file}
		locks.held[dir] = l
	}
	l.refs++
	return sync.OnceFunc(func() {
		locks.mu.Lock()
		defer locks.mu.Unlock()
		if l.refs--; l.refs == 0 {
			delete(locks.held, dir)
			l.file.Close()
		}
	}), nil
}

// recordHolder writes our pid into the lock file, for the error of the next one.
func recordHolder(file *os.File) error {
	err := file.Truncate(0)
	if err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: "lock data folder", Resource: file.Name(), Err: err,
			Hint: "see that the disk has room",
		}
	}
	return nil
}

func holder(dir string) string {
	raw, err := os.ReadFile(filepath.Join(dir, "node.lock"))
	pid := strings.TrimSpace(string(raw))
	if err != nil || pid == "" {
		return ""
	}
	return " (process " + pid + ")"
}

// shortPath writes a path below the working folder as ./…, as people type it.
func shortPath(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return path
	}
	return "./" + rel
}
