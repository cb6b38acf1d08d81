//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// processes are attempts to look into others: the agent, and a victim.
var processes = []attempt{
	{name: "agent-environment", try: inProc("agent", "environ")},
	{name: "agent-memory", try: inProc("agent", "mem")},
	{name: "agent-maps", try: inProc("agent", "maps")},
	{name: "agent-descriptor", try: inProc("agent", "fd/0")},
	{name: "agent-command-line", try: inProc("agent", "cmdline")},
	{name: "init-status", try: open("/proc/1/status")},
	{name: "victim-environment", try: readEnvironment},
	{name: "victim-memory", try: readMemory},
	{name: "victim-write", try: writeMemory},
	{name: "victim-trace", try: func(w world) error {
		_, err := sys(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(w.num("victim")), 0, 0)
		return err
	}, once: true},
	{name: "victim-attach", try: attach, once: true},
	{name: "victim-descriptor", try: func(w world) error {
		fd, err := sys(unix.SYS_PIDFD_OPEN, uintptr(w.num("victim")), 0)
		if err != nil {
			fd = 3
		}
		return descriptor(sys(unix.SYS_PIDFD_GETFD, fd, 1, 0))
	}},
	{name: "victim-compare", try: func(w world) error {
		pid := uintptr(w.num("victim"))
		_, err := sys(unix.SYS_KCMP, pid, pid, 1, 0, 0)
		return err
	}},
	{name: "victim-locks", try: func(w world) error {
		_, err := sys(unix.SYS_GET_ROBUST_LIST, uintptr(w.num("victim")), zeros(8), zeros(8))
		return err
	}},
	{name: "victim-advice", try: func(w world) error {
		fd, err := sys(unix.SYS_PIDFD_OPEN, uintptr(w.num("victim")), 0)
		if err != nil {
			fd = 3
		}
		span := [2]uint64{uint64(w.num("secret")) &^ 4095, 4096}
		_, err = sys(unix.SYS_PROCESS_MADVISE, fd, memoryOf(bytesOf(&span)), 1, unix.MADV_COLD, 0)
		return err
	}},
	{name: "victim-clock", try: func(w world) error { // what processor time it took
		_, err := sys(unix.SYS_CLOCK_GETTIME, ^uintptr(w.num("victim"))<<3|2, zeros(16))
		return err
	}},
	{name: "agent-peer", try: func(world) error { // a handle of the process at the other end of the socket
		return descriptor(option(unix.SO_PEERPIDFD))
	}},
	{name: "agent-peer-id", try: func(world) error { _, err := option(unix.SO_PEERCRED); return err }},
}

// option reads an option of the socket to the agent.
func option(name uintptr) (uintptr, error) {
	var value [12]byte
	size := uint32(4)
	if name == unix.SO_PEERCRED {
		size = 12
	}
	_, err := sys(unix.SYS_GETSOCKOPT, 3, unix.SOL_SOCKET, name, memoryOf(value[:]), memoryOf(bytesOf(&size)))
	return uintptr(kept[len(kept)-2][0]), err
}

// attach stops the victim as a debugger does, and lets it go on.
func attach(w world) error {
	pid := w.num("victim")
	if _, err := sys(unix.SYS_PTRACE, unix.PTRACE_ATTACH, uintptr(pid), 0, 0); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	_, err := sys(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, 0)
	return err
}

func inProc(who, file string) func(world) error {
	return func(w world) error {
		path := fmt.Sprintf("/proc/%d/%s", w.num(who), file)
		return descriptor(sys(unix.SYS_OPENAT, atFDCWD, text(path), unix.O_RDONLY|unix.O_CLOEXEC))
	}
}

func readEnvironment(w world) error {
	fd, err := sys(unix.SYS_OPENAT, atFDCWD, text(fmt.Sprintf("/proc/%d/environ", w.num("victim"))), unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(int(fd))
	b := make([]byte, 4096)
	n, err := unix.Read(int(fd), b)
	return holds(b[:max(n, 0)], err)
}

func readMemory(w world) error {
	b := make([]byte, len(secret))
	_, err := transferMemory(unix.SYS_PROCESS_VM_READV, w, b)
	return holds(b, err)
}

func writeMemory(w world) error {
	_, err := transferMemory(unix.SYS_PROCESS_VM_WRITEV, w, []byte(secret))
	return err
}

func transferMemory(number uintptr, w world, b []byte) (uintptr, error) {
	local := [2]uintptr{memoryOf(b), uintptr(len(b))}
	remote := [2]uintptr{uintptr(w.num("secret")), uintptr(len(b))}
	return sys(number, uintptr(w.num("victim")), memoryOf(bytesOf(&local)), 1, memoryOf(bytesOf(&remote)), 1, 0)
}

// holds reports an error unless the secret was read.
func holds(b []byte, err error) error {
	if err == nil && !bytes.Contains(b, []byte(secret)) {
		return fmt.Errorf("read %d other bytes", len(b))
	}
	return err
}
