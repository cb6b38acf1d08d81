//go:build linux && (amd64 || arm64)

package main

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// image is the descriptor through which a worker's program was executed.
const image = 4

// programs are attempts to run another program, or this one again.
var programs = []attempt{
	{name: "execute", try: func(world) error { return execute(unix.SYS_EXECVE, text("/proc/self/exe"), arguments(), 0) }, once: true},
	{name: "execute-image", try: func(world) error {
		return execute(unix.SYS_EXECVEAT, image, text(""), arguments(), 0, unix.AT_EMPTY_PATH)
	}, once: true},
	{name: "execute-memory", try: executeMemory, once: true},
	{name: "execute-domain", try: call(unix.SYS_PERSONALITY, 0x0040000)}, // ADDR_NO_RANDOMIZE
	{name: "fork", try: func(world) error { return forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD)) }},
	{name: "fork-shared", try: func(world) error { return forked(unix.SYS_CLONE, unix.CLONE_VFORK|uintptr(unix.SIGCHLD)) }},
	{name: "fork-vm", try: func(world) error {
		return forked(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD), stack())
	}},
	{name: "fork-sibling", try: func(world) error { return forked(unix.SYS_CLONE, unix.CLONE_PARENT|uintptr(unix.SIGCHLD)) }, once: true},
	{name: "fork-namespaces", try: func(world) error { return forked(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD)) }},
	{name: "fork-3", try: func(world) error {
		args := [11]uint64{4: uint64(unix.SIGCHLD)}
		return forked(unix.SYS_CLONE3, memoryOf(bytesOf(&args)), unsafe.Sizeof(args))
	}},
	{name: "fork-bomb", try: func(world) error {
		for range 32 {
			if err := forked(unix.SYS_CLONE, uintptr(unix.SIGCHLD)); err != nil {
				return err
			}
		}
		return nil
	}},
}

func execute(number uintptr, args ...uintptr) error {
	_, err := sys(number, args...)
	return err
}

// arguments are those with which this program says that it was executed.
func arguments() uintptr {
	argv := [3]uintptr{text("hostile"), text("-done")}
	return memoryOf(bytesOf(&argv))
}

// executeMemory executes a program that is no file.
func executeMemory(world) error {
	fd, err := sys(unix.SYS_MEMFD_CREATE, text("program"), 0)
	if err != nil {
		return err
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if _, err := unix.Write(int(fd), program); err != nil {
		return err
	}
	return execute(unix.SYS_EXECVEAT, fd, text(""), arguments(), 0, unix.AT_EMPTY_PATH)
}

// forked starts a process that ends at once, and waits for it.
func forked(number uintptr, args ...uintptr) error {
	var a [5]uintptr
	copy(a[:], args)
	pid, err := twice(number, a)
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(int(pid), &status, unix.WALL, nil)
		if err != unix.EINTR {
			return reached(err, unix.ECHILD) // a sibling is not ours to wait for
		}
	}
}

// stack is the top of a small stack for a thread that needs none.
func stack() uintptr { return (zeros(4096) + 4096) &^ 15 }
