package sandbox

import "golang.org/x/sys/unix"

const (
	arch = unix.AUDIT_ARCH_ARM
	mmap = unix.SYS_MMAP2
)

// There are variants for times after 2038, which the runtime uses since Linux
// 5.1. It calls nothing of the range that is private to ARM.
var (
	locks  = []uintptr{unix.SYS_FUTEX, unix.SYS_FUTEX_TIME64}
	clocks = []uintptr{unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETTIME64}
)
