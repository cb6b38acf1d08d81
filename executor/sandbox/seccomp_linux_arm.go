package sandbox

import "golang.org/x/sys/unix"

const (
	arch = unix.AUDIT_ARCH_ARM
	mmap = unix.SYS_MMAP2
)

// ownCalls are the variants for times after 2038, which the runtime uses since
// Linux 5.1. It calls nothing of the range that is private to ARM.
var ownCalls = []uintptr{unix.SYS_FUTEX_TIME64, unix.SYS_CLOCK_GETTIME64}
