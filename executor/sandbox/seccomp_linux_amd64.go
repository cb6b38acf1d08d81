package sandbox

import "golang.org/x/sys/unix"

const (
	arch = unix.AUDIT_ARCH_X86_64
	mmap = unix.SYS_MMAP
)

var (
	locks  = []uintptr{unix.SYS_FUTEX}
	clocks = []uintptr{unix.SYS_CLOCK_GETTIME}
)
