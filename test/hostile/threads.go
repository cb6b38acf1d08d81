//go:build linux && (amd64 || arm64)

package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// The flags with which the Go runtime starts threads, and how many the bomb
// wants to have at once.
const (
	threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	bomb        = 1000
)

// Operations of futex.
const (
	futexRequeue = 4
	futexLock    = 6
	futexPrivate = 128
)

var threads = []attempt{
	{name: "thread-own-files", try: thread(threadFlags &^ unix.CLONE_FILES)},
	{name: "thread-own-folder", try: thread(threadFlags &^ unix.CLONE_FS)},
	{name: "thread-own-network", try: thread(threadFlags | unix.CLONE_NEWNET)},
	{name: "thread-own-namespace", try: thread(threadFlags&^unix.CLONE_FS | unix.CLONE_NEWNS)},
	{name: "thread-untraced", try: thread(threadFlags | unix.CLONE_UNTRACED)},
	{name: "thread-3", try: func(world) error {
		args := [11]uint64{0: threadFlags, 5: uint64(stack() - 4096), 6: 4080}
		_, err := twice(unix.SYS_CLONE3, [5]uintptr{memoryOf(bytesOf(&args)), 88})
		return err
	}},
	{name: "thread-bomb", try: threadBomb, once: true},
	{name: "thread-many", try: threadMany, once: true},
	{name: "share-files", try: call(unix.SYS_UNSHARE, unix.CLONE_FILES)},
	{name: "share-folder", try: call(unix.SYS_UNSHARE, unix.CLONE_FS)},
	{name: "lock-priority", try: func(world) error { // priority inheritance, where many of the kernel's holes were
		_, err := sys(unix.SYS_FUTEX, zeros(4), futexLock|futexPrivate, 0, 0)
		return err
	}},
	{name: "lock-requeue", try: func(world) error {
		_, err := sys(unix.SYS_FUTEX, zeros(4), futexRequeue|futexPrivate, 1, 1, zeros(4), 0)
		return err
	}},
	{name: "lock-wait-many", try: func(world) error {
		_, err := sys(unix.SYS_FUTEX_WAITV, zeros(24), 1, 0, 0, 0)
		return reached(err, unix.EINVAL)
	}},
	{name: "barrier-everywhere", try: call(unix.SYS_MEMBARRIER, 1, 0, 0)},
}

// thread starts a thread that ends at once.
func thread(flags uintptr) func(world) error {
	return func(world) error {
		_, err := twice(unix.SYS_CLONE, [5]uintptr{flags, stack()})
		return err
	}
}

// threadMany has the Go runtime start threads.
func threadMany(world) error {
	const many = 300
	up, end := make(chan struct{}), make(chan struct{})
	defer close(end)
	for range many {
		go func() {
			runtime.LockOSThread()
			up <- struct{}{}
			<-end
		}()
	}
	for range many {
		<-up
	}
	return nil
}

// threadBomb starts threads that the Go runtime does not know and that take
// almost no memory of the process. They sleep until it ends.
func threadBomb(world) error {
	nap := unix.NsecToTimespec(5e9)
	at, top := memoryOf(bytesOf(&nap)), stack()
	for range bomb {
		if _, err := sleeper(threadFlags, top, at); err != nil {
			return err
		}
	}
	return nil
}
