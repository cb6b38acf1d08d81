//go:build linux && (amd64 || arm64)

package main

import "golang.org/x/sys/unix"

// split makes a system call that returns in two threads or processes. The new
// one ends at once, before it needs a stack.
func split(number, a1, a2, a3, a4, a5 uintptr) (r uintptr)

// sleep is split for clone: the new thread sleeps for the timespec at nap first.
func sleep(number, flags, stack, nap uintptr) (r uintptr)

// poke writes to an address that the Go runtime knows nothing of.
func poke(at uintptr)

// peek reads from one.
func peek(at uintptr)

func twice(number uintptr, a [5]uintptr) (uintptr, error) {
	return returned(split(number, a[0], a[1], a[2], a[3], a[4]))
}

func sleeper(flags, stack, nap uintptr) (uintptr, error) {
	return returned(sleep(unix.SYS_CLONE, flags, stack, nap))
}

func returned(r uintptr) (uintptr, error) {
	if r > minusOne-4095 {
		return 0, unix.Errno(-r)
	}
	return r, nil
}
