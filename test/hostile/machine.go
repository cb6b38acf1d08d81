//go:build linux && (amd64 || arm64)

package main

import "golang.org/x/sys/unix"

// machine are attempts on what all processes share. They set what is there
// already, or fail behind the check of rights.
var machine = []attempt{
	{name: "clock-set", try: func(world) error {
		var now unix.Timespec
		at := memoryOf(bytesOf(&now))
		if _, err := sys(unix.SYS_CLOCK_GETTIME, unix.CLOCK_REALTIME, at); err != nil {
			return err
		}
		_, err := sys(unix.SYS_CLOCK_SETTIME, unix.CLOCK_REALTIME, at)
		return err
	}, once: true},
	{name: "clock-zone", try: func(world) error { _, err := sys(unix.SYS_SETTIMEOFDAY, 0, zeros(8)); return err }},
	{name: "clock-adjust", try: func(world) error {
		var t unix.Timex
		at := memoryOf(bytesOf(&t))
		if _, err := sys(unix.SYS_ADJTIMEX, at); err != nil {
			return err
		}
		t.Modes = unix.ADJ_TICK
		_, err := sys(unix.SYS_ADJTIMEX, memoryOf(bytesOf(&t)))
		return err
	}, once: true},
	{name: "reboot", try: reaching(unix.EINVAL, unix.SYS_REBOOT, 1, 2, 3)},
	{name: "host-name", try: func(world) error {
		var u unix.Utsname
		if _, err := sys(unix.SYS_UNAME, memoryOf(bytesOf(&u))); err != nil {
			return err
		}
		n := 0
		for u.Nodename[n] != 0 {
			n++
		}
		_, err := sys(unix.SYS_SETHOSTNAME, memoryOf(u.Nodename[:]), uintptr(n))
		return err
	}},
	{name: "hang-up", try: func(world) error { _, err := sys(unix.SYS_VHANGUP); return err }, once: true},
	{name: "sync", try: call(unix.SYS_SYNCFS, 0)},
	{name: "timers", try: timers, once: true},
	{name: "alarm", try: func(world) error { _, err := sys(unix.SYS_SETITIMER, unix.ITIMER_VIRTUAL, zeros(32), 0); return err }},
	{name: "output-flood", try: func(world) error { return flood(1) }, once: true},
	{name: "error-flood", try: func(world) error { return flood(2) }, once: true},
}

// timers makes more of them than anybody needs.
func timers(world) error {
	for range 2_000 {
		// No signal: it only takes the kernel's memory.
		event := [8]uint64{1: uint64(1) << 32}
		if _, err := sys(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, memoryOf(bytesOf(&event)), zeros(4)); err != nil {
			return err
		}
	}
	return nil
}

// flood writes 64 MiB to stdio.
func flood(fd uintptr) error {
	chunk := zeros(64 << 10)
	for range 1 << 10 {
		if _, err := sys(unix.SYS_WRITE, fd, chunk, 64<<10); err != nil {
			return err
		}
	}
	return nil
}
