//go:build linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempt is one thing that code in the sandbox must not be able to do.
type attempt struct {
	name string
	try  func(world) error // nil: it worked
	once bool              // not to be tried by several threads: it takes a lot, or ends the process
}

// attempts are all of them.
var attempts = slices.Concat(
	files, processes, signals, network, descriptors, programs, threads, memory, privileges, kernel, machine, foreign,
)

// done is the outcome of an attempt that worked.
const done = "done"

// outcome says how an attempt ended: done, the name of an errno, or a text.
func outcome(err error) string {
	if err == nil {
		return done
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
		return "errno " + strconv.Itoa(int(errno))
	}
	return err.Error()
}

// world is what the suite set up for the attempts to aim at.
type world struct{ url.Values }

func (w world) num(key string) int {
	n, _ := strconv.Atoi(w.Get(key))
	return n
}

// file is a name in the suite's folder that nobody else uses.
func (w world) file(name string) string {
	return fmt.Sprintf("%s/%s-%d", w.Get("dir"), name, unix.Gettid())
}

// sys makes a system call from this thread.
func sys(number uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return 0, errno
	}
	return r, nil
}

// call returns an attempt to make one system call.
func call(number uintptr, args ...uintptr) func(world) error {
	return func(world) error {
		_, err := sys(number, args...)
		return err
	}
}

// reaching is call for what would do harm if it worked: its arguments are wrong
// in a way that the kernel notices only behind its check of rights.
func reaching(want unix.Errno, number uintptr, args ...uintptr) func(world) error {
	return func(world) error {
		_, err := sys(number, args...)
		return reached(err, want)
	}
}

// reached takes an error that comes only behind the check of rights for success.
func reached(err error, want ...unix.Errno) error {
	for _, errno := range want {
		if errors.Is(err, errno) {
			return nil
		}
	}
	return err
}

// descriptor turns the result of a call that makes one into an error, and closes it.
func descriptor(fd uintptr, err error) error {
	if err == nil {
		_ = unix.Close(int(fd))
	}
	return err
}

// opening is call for one that returns a descriptor.
func opening(number uintptr, args ...uintptr) func(world) error {
	return func(world) error { return descriptor(sys(number, args...)) }
}

// kept keeps what system calls are pointed at where the collector and growing
// stacks leave it alone.
var kept [][]byte

// text is the address of a string for the kernel.
func text(s string) uintptr { return memoryOf(append([]byte(s), 0)) }

// zeros is the address of n zero bytes.
func zeros(n int) uintptr { return memoryOf(make([]byte, n)) }

func memoryOf(b []byte) uintptr {
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// minusOne is -1, as a system call takes it.
const minusOne = ^uintptr(0)

// atFDCWD is unix.AT_FDCWD, as a system call takes it.
const atFDCWD = minusOne - 99
