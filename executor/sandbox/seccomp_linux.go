//go:build linux && (amd64 || arm64 || arm)

package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newThread is how the Go runtime makes a thread; see newosproc. Where it sets
// the thread's local storage in the same call, there is a flag more.
const newThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// The two operations on locks that the runtime uses, among its own threads only.
const (
	futexWait = 128
	futexWake = 129
)

// needed lists the system calls of a running worker, the frequent ones first. The
// filter refuses all others: the worker can open no file and no socket and start no
// process, and keeps the descriptors that it has.
func needed(pid int) []allow {
	list := calls(
		unix.SYS_READ, unix.SYS_WRITE, unix.SYS_EPOLL_PWAIT, unix.SYS_NANOSLEEP, unix.SYS_SCHED_YIELD,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_SIGALTSTACK,
		unix.SYS_RT_SIGACTION, unix.SYS_MUNMAP, unix.SYS_GETRANDOM, unix.SYS_RESTART_SYSCALL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	)
	for _, number := range locks { // not the operations with priorities or that move waiters: those had kernel bugs
		list = slices.Insert(list, 0, allow{number, []condition{{arg: 1, values: []uint32{futexWait, futexWake}}}})
	}
	for _, number := range clocks { // other clocks tell of other processes
		list = append(list, allow{number, []condition{{arg: 0, values: []uint32{unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC}}}})
	}
	return append(
		list,
		// The runtime preempts its own threads by signals.
		allow{unix.SYS_TGKILL, []condition{{arg: 0, values: []uint32{uint32(pid)}}}},
		allow{mmap, []condition{
			// Never executable. Never read-only either: no limit counts such memory, and
			// its page tables would fill the machine.
			{arg: 2, values: []uint32{unix.PROT_NONE, unix.PROT_READ | unix.PROT_WRITE}},
			// Never shared and never a file. Droppable memory holds the state of getrandom.
			{arg: 3, ignore: unix.MAP_FIXED, values: []uint32{unix.MAP_PRIVATE | unix.MAP_ANONYMOUS, unix.MAP_DROPPABLE | unix.MAP_ANONYMOUS}},
		}},
		// Not MADV_MERGEABLE: it shows a process what other processes hold.
		allow{unix.SYS_MADVISE, []condition{{arg: 2, values: []uint32{
			unix.MADV_DONTNEED, unix.MADV_FREE, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_COLLAPSE,
		}}}},
		allow{unix.SYS_CLONE, []condition{{arg: 0, ignore: unix.CLONE_SETTLS, values: []uint32{newThread}}}},
		allow{unix.SYS_PRCTL, []condition{{arg: 0, values: []uint32{unix.PR_GET_SECCOMP, unix.PR_GET_NO_NEW_PRIVS}}}},
	)
}

// filterCalls puts the filter on every thread, and asks each thread whether it has
// the filter. The kernel answers a refused call with EPERM, or with kill it ends the
// process.
func filterCalls(kill bool) error {
	refusal := uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
	if kill {
		refusal = unix.SECCOMP_RET_KILL_PROCESS
	}
	return installFilter(assemble(arch, needed(unix.Getpid()), refusal))
}

func installFilter(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	flags := uintptr(unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
	if errno == unix.EINVAL { // a kernel before 5.7 tells the thread that stood against it instead
		r, _, errno = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	}
	runtime.KeepAlive(filter)
	if errno != 0 {
		return failure("seccomp", errno)
	}
	if r != 0 {
		return fmt.Errorf("seccomp: thread %d cannot take the filter", r)
	}
	mode, err := allThreads("prctl(PR_GET_SECCOMP)", unix.SYS_PRCTL, unix.PR_GET_SECCOMP)
	if err == nil && mode != unix.SECCOMP_MODE_FILTER {
		err = errors.New("the kernel says that there is no filter")
	}
	return err
}
