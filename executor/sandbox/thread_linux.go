package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// threads is what the kernel says of the process's threads: true if it holds for each.
type threads struct {
	noNewPrivs bool
	powerless  bool // no capability but in the bounding set
}

// openTasks opens the folder with the status of every thread. It must run before the
// root is emptied.
func openTasks() (*os.File, error) { return os.Open("/proc/self/task") }

// threadsOf reads the status of every thread below tasks, and closes it.
func threadsOf(tasks *os.File, err error) (threads, error) {
	if err != nil {
		return threads{}, err
	}
	defer tasks.Close()
	names, err := tasks.Readdirnames(-1)
	if err != nil {
		return threads{}, fmt.Errorf("list threads: %w", err)
	}
	all := threads{true, true}
	for _, name := range names {
		status, err := statusOf(tasks, name)
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) {
			continue // it ended
		}
		if err != nil {
			return threads{}, fmt.Errorf("read the status of a thread: %w", err)
		}
		all.noNewPrivs = all.noNewPrivs && field(status, "NoNewPrivs") == "1"
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			all.powerless = all.powerless && strings.Trim(field(status, set), "0") == "" && field(status, set) != ""
		}
	}
	return all, nil
}

func statusOf(tasks *os.File, name string) (string, error) {
	fd, err := unix.Openat(int(tasks.Fd()), name+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, 16<<10))
	return string(b), err
}

// field returns the value of a line "name:\tvalue".
func field(status, name string) string {
	_, rest, _ := strings.Cut("\n"+status, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}
