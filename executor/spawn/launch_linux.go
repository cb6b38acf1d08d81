package spawn

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/picloud/picloud/executor/sandbox"
)

// launchTimeout bounds how long a launcher takes.
const launchTimeout = 5 * time.Second

// launch starts a worker by way of a launcher; see sandbox.Launch. It returns the
// worker's pid.
func (i *image) launch(argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("make a pipe: %w", err)
	}
	defer r.Close()
	attr.Files = append(attr.Files, w.Fd())
	group, err := syscall.ForkExec(i.path, argv, attr)
	_ = w.Close()
	if err != nil {
		return 0, err
	}
	_ = r.SetReadDeadline(time.Now().Add(launchTimeout)) // a fresh pipe takes deadlines
	answer := make([]byte, 256)
	n, readErr := r.Read(answer)
	pid, err = strconv.Atoi(string(answer[:n]))
	if err == nil {
		reapLauncher(group)
		return pid, nil
	}
	// End the launcher, and the worker if it started one.
	_ = syscall.Kill(-group, syscall.SIGKILL)
	reapLauncher(group)
	for {
		if _, err := syscall.Wait4(-group, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if n > 0 {
		return 0, errors.New(string(answer[:n]))
	}
	return 0, fmt.Errorf("the launcher did not answer: %w", readErr)
}

// reapLauncher waits for the end of a launcher, which exits as soon as it answered.
func reapLauncher(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// order returns what a launcher is to do under a plan.
func (p plan) order(uid int) sandbox.Launch {
	l := sandbox.Launch{UID: uid, GID: uid, Groups: uid != NoUID}
	if uid == NoUID {
		l.UID, l.GID = os.Geteuid(), os.Getegid()
	}
	for _, name := range p.namespaces {
		l.Flags |= cloneFlags[name].flag
	}
	return l
}
