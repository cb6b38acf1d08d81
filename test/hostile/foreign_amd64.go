//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// foreign32 makes a system call of the 32-bit kind, whose numbers differ.
func foreign32(number, a1, a2, a3 uintptr) (r uintptr)

// The numbers of 32-bit system calls.
const (
	getpid32 = 20
	socket32 = 359
)

// x32 marks system calls of the kind that has 32-bit pointers.
const x32 = 0x40000000

// foreign are attempts by the other ways into the kernel that this processor has.
var foreign = []attempt{
	{name: "foreign-number", try: func(world) error { return same(foreign32(getpid32, 0, 0, 0)) }, once: true},
	{name: "foreign-socket", try: func(world) error {
		r := uint32(foreign32(socket32, unix.AF_INET, unix.SOCK_STREAM, 0))
		if r > ^uint32(4095) {
			return unix.Errno(-r)
		}
		return descriptor(uintptr(r), nil)
	}, once: true},
	{name: "foreign-x32", try: func(world) error {
		pid, err := sys(x32 | unix.SYS_GETPID)
		if err != nil {
			return err
		}
		return same(pid)
	}, once: true},
	{name: "foreign-high-bits", try: func(world) error {
		return descriptor(sys(1<<32|unix.SYS_OPENAT, atFDCWD, text("/etc/passwd"), unix.O_RDONLY|unix.O_CLOEXEC))
	}},
	{name: "old-open", try: func(world) error {
		return descriptor(sys(unix.SYS_OPEN, text("/etc/passwd"), unix.O_RDONLY|unix.O_CLOEXEC))
	}},
	{name: "old-create", try: func(w world) error { return descriptor(sys(unix.SYS_CREAT, text(w.file("created")), 0o600)) }},
	{name: "old-stat", try: func(world) error { _, err := sys(unix.SYS_STAT, text("/etc/passwd"), zeros(256)); return err }},
	{name: "old-fork", try: func(world) error { return forked(unix.SYS_FORK) }},
	{name: "old-vfork", try: func(world) error { return forked(unix.SYS_VFORK) }},
	{name: "old-pipe", try: func(world) error { _, err := sys(unix.SYS_PIPE, zeros(8)); return err }, once: true},
	{name: "ports", try: call(unix.SYS_IOPL, 3), once: true},
	{name: "port", try: call(unix.SYS_IOPERM, 0x80, 1, 1), once: true},
	{name: "segments", try: func(world) error { _, err := sys(unix.SYS_MODIFY_LDT, 0, zeros(64), 64); return err }},
	{name: "segment-base", try: func(world) error { _, err := sys(unix.SYS_ARCH_PRCTL, 0x1004, zeros(8)); return err }},
}

func same(pid uintptr) error {
	if int32(pid) < 0 && int32(pid) > -4096 {
		return unix.Errno(-int32(pid))
	}
	if int(pid) != unix.Getpid() {
		return fmt.Errorf("got %d", pid)
	}
	return nil
}

// waits are system calls of this architecture that sweep leaves out. The kernel
// lets no filter see uretprobe and uprobe: they are for code that it put there
// itself, and kill all other.
var waits = []uintptr{unix.SYS_PAUSE, unix.SYS_VFORK, unix.SYS_FORK, uretprobe, uprobe}

const (
	uretprobe = 335
	uprobe    = 336
)
