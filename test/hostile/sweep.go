//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// lastCall is above every number of a system call there is.
const lastCall = 600

// unswept are system calls that would end this thread or make it wait, were they
// answered.
var unswept = []uintptr{
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGSUSPEND, unix.SYS_RT_SIGTIMEDWAIT,
}

// sweep makes every system call, with arguments that mean nothing, and returns
// the numbers of those that the kernel looked at. Only inside the sandbox.
func sweep() string {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var answered []string
	for number := range uintptr(lastCall) {
		if slices.Contains(unswept, number) || slices.Contains(waits, number) {
			continue
		}
		_, err := sys(number, minusOne, minusOne, minusOne, minusOne, minusOne, minusOne)
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
			answered = append(answered, fmt.Sprint(number))
		}
	}
	return strings.Join(answered, " ")
}
