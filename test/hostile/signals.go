//go:build linux && (amd64 || arm64)

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// signals are attempts to end, stop or slow others. The victim ignores SIGCONT,
// and signal 0 goes to those who must live.
var signals = []attempt{
	{name: "kill-victim", try: onVictim(func(pid uintptr) error { _, err := sys(unix.SYS_KILL, pid, uintptr(unix.SIGCONT)); return err })},
	{name: "kill-agent", try: func(w world) error { _, err := sys(unix.SYS_KILL, uintptr(w.num("agent")), 0); return err }},
	{name: "kill-group", try: func(w world) error { _, err := sys(unix.SYS_KILL, -uintptr(w.num("victim")), 0); return err }},
	{name: "kill-all", try: call(unix.SYS_KILL, minusOne, 0)},
	{name: "kill-thread", try: onVictim(func(pid uintptr) error { _, err := sys(unix.SYS_TKILL, pid, uintptr(unix.SIGCONT)); return err })},
	{name: "kill-group-thread", try: onVictim(func(pid uintptr) error {
		_, err := sys(unix.SYS_TGKILL, pid, pid, uintptr(unix.SIGCONT))
		return err
	})},
	{name: "queue-signal", try: onVictim(func(pid uintptr) error {
		_, err := sys(unix.SYS_RT_SIGQUEUEINFO, pid, uintptr(unix.SIGCONT), queued())
		return err
	})},
	{name: "queue-thread-signal", try: onVictim(func(pid uintptr) error {
		_, err := sys(unix.SYS_RT_TGSIGQUEUEINFO, pid, pid, uintptr(unix.SIGCONT), queued())
		return err
	})},
	{name: "handle-of-victim", try: onVictim(func(pid uintptr) error { return descriptor(sys(unix.SYS_PIDFD_OPEN, pid, 0)) })},
	{name: "kill-by-handle", try: onVictim(func(pid uintptr) error {
		fd, err := sys(unix.SYS_PIDFD_OPEN, pid, 0)
		if err != nil {
			fd = 3
		}
		_, err = sys(unix.SYS_PIDFD_SEND_SIGNAL, fd, uintptr(unix.SIGCONT), 0, 0)
		return err
	})},
	{name: "kill-by-socket", try: onVictim(ownSocket), once: true},
	{name: "kill-by-ioctl", try: onVictim(func(pid uintptr) error {
		owner := int32(pid)
		_, err := sys(unix.SYS_IOCTL, 3, fioSetOwn, memoryOf(bytesOf(&owner)))
		return err
	})},
	{name: "slow-victim", try: onVictim(func(pid uintptr) error { _, err := sys(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, pid, 1); return err })},
	{name: "slow-victim-disk", try: onVictim(func(pid uintptr) error { _, err := sys(unix.SYS_IOPRIO_SET, 1, pid, 3<<13); return err })},
	{name: "bind-victim", try: onVictim(func(pid uintptr) error {
		mask := ^uint64(0)
		_, err := sys(unix.SYS_SCHED_SETAFFINITY, pid, 8, memoryOf(bytesOf(&mask)))
		return err
	})},
	{name: "schedule-victim", try: onVictim(func(pid uintptr) error {
		priority := int32(0)
		_, err := sys(unix.SYS_SCHED_SETSCHEDULER, pid, schedBatch, memoryOf(bytesOf(&priority)))
		return err
	})},
	{name: "limit-victim", try: onVictim(func(pid uintptr) error {
		limit := unix.Rlimit{Cur: 64, Max: 64}
		_, err := sys(unix.SYS_PRLIMIT64, pid, unix.RLIMIT_NOFILE, memoryOf(bytesOf(&limit)), 0)
		return err
	})},
	{name: "move-victim", try: onVictim(func(pid uintptr) error {
		_, err := sys(unix.SYS_SETPGID, pid, uintptr(unix.Getpid()))
		return reached(err, unix.ESRCH, unix.EACCES) // it is no child of ours
	})},
	{name: "queue-own-signals", try: queueOwn, once: true},
	{name: "own-session", try: func(world) error { _, err := sys(unix.SYS_SETSID); return err }, once: true},
	{name: "own-group", try: call(unix.SYS_SETPGID, 0, 0), once: true},
}

const (
	schedBatch = 3
	schedFIFO  = 1
	fioSetOwn  = 0x8901
	fSetSignal = 10
)

func onVictim(try func(pid uintptr) error) func(world) error {
	return func(w world) error { return try(uintptr(w.num("victim"))) }
}

// queueOwn fills the kernel's memory with signals that wait for this thread.
func queueOwn(world) error {
	const realTime = 50
	blocked := uint64(1) << (realTime - 1)
	if _, err := sys(unix.SYS_RT_SIGPROCMASK, unix.SIG_BLOCK, memoryOf(bytesOf(&blocked)), 0, 8); err != nil {
		return err
	}
	for range 2_000 {
		if _, err := sys(unix.SYS_TGKILL, uintptr(unix.Getpid()), uintptr(unix.Gettid()), realTime); err != nil {
			return err
		}
	}
	return nil
}

// queued is the information of a signal that somebody queued.
func queued() uintptr {
	info := make([]int32, 32)
	info[2] = -1 // SI_QUEUE
	return memoryOf(unsafe.Slice((*byte)(unsafe.Pointer(&info[0])), 128))
}

// ownSocket has the kernel send a signal of the worker's choice whenever the
// agent writes to the worker's socket.
func ownSocket(pid uintptr) error {
	if _, err := sys(unix.SYS_FCNTL, 3, unix.F_SETOWN, pid); err != nil {
		return err
	}
	if _, err := sys(unix.SYS_FCNTL, 3, fSetSignal, uintptr(unix.SIGCONT)); err != nil {
		return err
	}
	_, err := sys(unix.SYS_FCNTL, 3, unix.F_SETFL, unix.O_ASYNC|unix.O_NONBLOCK|unix.O_RDWR)
	return err
}
