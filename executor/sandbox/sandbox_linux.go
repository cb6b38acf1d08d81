package sandbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

var errWithout = errors.New("left out by a test")

// apply puts the layers on. The order matters: mounting takes capabilities,
// Landlock hides the files that tell of capabilities, and seccomp refuses the
// calls that all the others need.
func apply(opts Options) (Report, error) {
	tasks, tasksErr := openTasks()
	if err := closeInherited(); err != nil {
		return nil, err
	}
	// The agent ends the process by its process group, which the process cannot leave
	// later. It has a group of its own already, unless a launcher started it.
	_ = syscall.Setpgid(0, 0)
	// When the machine's memory runs out, the kernel ends this process first. Every
	// process may raise its own score. Without /proc the score stays as it is, which
	// weakens the node and not the sandbox.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)

	b := builder{without: opts.hooks.Without}
	b.try(Rlimits, func() error { return setLimits(opts) })
	b.try(NoNewPrivs, setNoNewPrivs)
	b.try(EmptyRoot, func() error {
		if !opts.Namespace {
			return errors.New("it needs a mount namespace of its own")
		}
		return emptyRoot()
	})
	b.try(Capabilities, dropCapabilities)
	threads, err := threadsOf(tasks, tasksErr)
	b.check(NoNewPrivs, err, threads.noNewPrivs)
	b.check(Capabilities, err, threads.powerless)
	b.try(Landlock, landlock)
	b.try(Seccomp, func() error { return filterCalls(opts.hooks.Kill) })
	return b.report, nil
}

// builder collects a report.
type builder struct {
	without []string
	report  Report
}

// try puts a layer on.
func (b *builder) try(name string, put func() error) {
	err := errWithout
	if !slices.Contains(b.without, name) {
		err = put()
	}
	l := Layer{Name: name, On: err == nil}
	if err != nil {
		l.Reason = err.Error()
	}
	b.report = append(b.report, l)
}

// check marks a layer as off when it does not hold for every thread.
func (b *builder) check(name string, err error, holds bool) {
	i := slices.IndexFunc(b.report, func(l Layer) bool { return l.Name == name })
	l := &b.report[i]
	switch {
	case !l.On:
	case err != nil:
		l.On, l.Reason = false, fmt.Sprintf("it cannot be verified: %v", err)
	case !holds:
		l.On, l.Reason = false, "not every thread has it"
	}
}

// allThreads makes a system call in every thread. The runtime ends the process
// should two threads get different answers.
func allThreads(what string, number uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := syscall.AllThreadsSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	switch errno {
	case 0:
		return r, nil
	case syscall.ENOTSUP: // the runtime's own answer in a cgo build
		return r, fmt.Errorf("%s: this program was built with cgo", what)
	}
	return r, failure(what, errno)
}

// failure names the system call and the errno.
func failure(what string, errno syscall.Errno) error {
	return fmt.Errorf("%s: %s (%w)", what, unix.ErrnoName(errno), errno)
}

func setNoNewPrivs() error {
	if _, err := allThreads("prctl(PR_SET_NO_NEW_PRIVS)", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return err
	}
	flag, err := allThreads("prctl(PR_GET_NO_NEW_PRIVS)", unix.SYS_PRCTL, unix.PR_GET_NO_NEW_PRIVS)
	if err == nil && flag != 1 {
		err = errors.New("the kernel says that it is off")
	}
	return err
}
