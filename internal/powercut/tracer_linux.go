//go:build amd64 || arm64

package powercut

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Supported reports whether this machine can record.
const Supported = true

// watch runs a program, writes down what it does below dir, and returns its exit code.
func watch(argv []string, dir, out string) (code int, err error) {
	runtime.LockOSThread() // ptrace knows the thread
	file, err := os.Create(out)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	w := &watcher{dir: dir, calls: map[int]*call{}, out: gob.NewEncoder(file)}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	w.pid = cmd.Process.Pid
	go func() {
		for s := range signals {
			_ = syscall.Kill(w.pid, s.(syscall.Signal))
		}
	}()
	if w.memory, err = os.Open(fmt.Sprintf("/proc/%d/mem", w.pid)); err != nil {
		return 0, err
	}
	defer w.memory.Close()
	return w.run()
}

// watcher follows the threads of one program.
type watcher struct {
	pid    int
	dir    string
	memory *os.File
	calls  map[int]*call // by thread: the call under way; nil: none
	out    *gob.Encoder
	count  int // of operations
}

// call is a system call between its begin and its end.
type call struct {
	number  uint64
	args    [6]uint64
	path    string // of the first name
	existed bool   // the name was there before
	count   int    // of operations before it began
}

const (
	sysgood     = 0x80   // marks the stops of system calls
	syscallInfo = 0x420e // PTRACE_GET_SYSCALL_INFO
)

// info is struct ptrace_syscall_info, which is the same on each architecture.
type info struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64 // at the end of a call: its result
	args   [6]uint64
	_      [2]uint64
}

func (w *watcher) run() (int, error) {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(w.pid, &status, syscall.WALL, nil); err != nil {
		return 0, err
	}
	if err := syscall.PtraceSetOptions(w.pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, err
	}
	w.calls[w.pid] = nil
	if err := syscall.PtraceSyscall(w.pid, 0); err != nil {
		return 0, err
	}
	for {
		thread, err := syscall.Wait4(-1, &status, syscall.WALL, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if status.Exited() || status.Signaled() {
			delete(w.calls, thread)
			if thread != w.pid {
				continue
			}
			if status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			return status.ExitStatus(), nil
		}
		pass := 0
		_, known := w.calls[thread]
		switch stop := status.StopSignal(); {
		case stop == syscall.SIGTRAP|sysgood:
			if err := w.stopped(thread); err != nil {
				return 0, err
			}
		case stop == syscall.SIGTRAP && status.TrapCause() > 0:
		case stop == syscall.SIGSTOP && !known: // a thread begins so
		default:
			pass = int(stop)
		}
		if !known {
			w.calls[thread] = nil
		}
		if err := syscall.PtraceSyscall(thread, pass); err != nil && !errors.Is(err, syscall.ESRCH) {
			return 0, err
		}
	}
}

// stopped looks at a call that begins or ends.
func (w *watcher) stopped(thread int) error {
	var i info
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, syscallInfo, uintptr(thread), unsafe.Sizeof(i), uintptr(unsafe.Pointer(&i)), 0, 0)
	if errors.Is(errno, syscall.ESRCH) {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("read system call: %w", errno)
	}
	if i.op == 1 {
		w.calls[thread] = w.begins(&i)
		return nil
	}
	c := w.calls[thread]
	w.calls[thread] = nil
	if result := int64(i.number); c != nil && (result >= 0 || c.number == unix.SYS_READLINKAT) { // nothing is there: see Say
		return w.ends(c, result)
	}
	return nil
}

// begins returns the call, if it may change files.
func (w *watcher) begins(i *info) *call {
	c := &call{number: i.number, args: i.args, count: w.count}
	switch i.number {
	case unix.SYS_OPENAT, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT:
		c.path = w.name(i.args[0], i.args[1])
		_, err := os.Lstat(c.path)
		c.existed = err == nil
	case unix.SYS_READLINKAT:
		c.path = w.name(i.args[0], i.args[1])
	case unix.SYS_SYMLINKAT:
		c.path = w.name(i.args[1], i.args[2])
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
		unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_PWRITEV2, unix.SYS_SENDFILE, unix.SYS_COPY_FILE_RANGE:
		c.path = w.open(i.args[0])
		if i.number == unix.SYS_COPY_FILE_RANGE {
			c.path = w.open(i.args[2])
		}
	case unix.SYS_MMAP:
		const shared, writes = unix.MAP_SHARED, unix.PROT_WRITE
		if i.args[2]&writes == 0 || i.args[3]&0xf != shared {
			return nil
		}
		c.path = w.open(i.args[4])
	default:
		return nil
	}
	return c
}

// ends writes down what the call has done.
func (w *watcher) ends(c *call, result int64) error {
	if note, ok := strings.CutPrefix(c.path, noteDir); ok && c.number == unix.SYS_READLINKAT {
		return w.add(Op{Kind: Note, Path: note})
	}
	path, inside := w.below(c.path)
	if !inside || c.number == unix.SYS_READLINKAT {
		return nil
	}
	o := Op{Path: path}
	switch c.number {
	case unix.SYS_OPENAT:
		switch flags := int(c.args[2]); {
		case flags&unix.O_CREAT != 0 && !c.existed:
			o.Kind = Create
		case flags&unix.O_TRUNC != 0 && flags&unix.O_ACCMODE != unix.O_RDONLY:
			o.Kind = Truncate
		default:
			return nil
		}
	case unix.SYS_MKDIRAT:
		o.Kind = Mkdir
	case unix.SYS_UNLINKAT:
		o.Kind = Remove
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT:
		o.Kind = Rename
		if c.number == unix.SYS_LINKAT {
			o.Kind = Link
		}
		to, inside := w.below(w.name(c.args[2], c.args[3]))
		if !inside {
			return fmt.Errorf("%s leaves the folder", path)
		}
		o.To = to
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		o.Kind, o.Offset = Write, int64(c.args[3])
		if c.number == unix.SYS_WRITE {
			o.Offset = w.position(c.args[0]) - result
		}
		o.Data = w.read(c.args[1], int(result))
	case unix.SYS_FTRUNCATE:
		o.Kind, o.Offset = Truncate, int64(c.args[1])
	case unix.SYS_FALLOCATE:
		o.Kind, o.Offset = Grow, int64(c.args[2]+c.args[3])
		if mode := c.args[1]; mode == unix.FALLOC_FL_KEEP_SIZE {
			return nil
		} else if mode != 0 {
			return fmt.Errorf("%s: fallocate with mode %#x is not simulated", path, mode)
		}
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		o.Kind, o.Offset = Sync, int64(c.count)
	default:
		return fmt.Errorf("%s: system call %d is not simulated", path, c.number)
	}
	return w.add(o)
}

func (w *watcher) add(o Op) error {
	w.count++
	return w.out.Encode(o)
}

// below returns a path of the folder as seen from it.
func (w *watcher) below(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, w.dir+"/")
	return rest, ok && !strings.HasSuffix(path, " (deleted)")
}

// open returns the path of an open file.
func (w *watcher) open(fd uint64) string {
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", w.pid, int32(fd)))
	if path == w.dir {
		return path + "/."
	}
	return path
}

// position is where an open file is written next.
func (w *watcher) position(fd uint64) int64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", w.pid, int32(fd)))
	first, _, _ := strings.Cut(strings.TrimPrefix(string(raw), "pos:"), "\n")
	at, _ := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	return at
}

// name returns the path that a call names.
func (w *watcher) name(dir, address uint64) string {
	raw := w.read(address, unix.PathMax)
	if end := bytes.IndexByte(raw, 0); end >= 0 {
		raw = raw[:end]
	}
	path := string(raw)
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	base, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", w.pid))
	if int32(dir) != unix.AT_FDCWD {
		base = w.open(dir)
	}
	return filepath.Join(base, path)
}

// read reads the memory of the program; near its end, less.
func (w *watcher) read(address uint64, size int) []byte {
	raw := make([]byte, size)
	n, _ := w.memory.ReadAt(raw, int64(address))
	if n == 0 && size > 4096 { // the next page is not there
		n, _ = w.memory.ReadAt(raw[:4096-int(address%4096)], int64(address))
	}
	return raw[:n]
}
