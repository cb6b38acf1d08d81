//go:build linux && (amd64 || arm64)

package main

import "golang.org/x/sys/unix"

// kernel are attempts to load code into the kernel, or to watch it.
var kernel = []attempt{
	{name: "bpf", try: func(world) error {
		attr := [18]uint64{0: 2 | 4<<32, 1: 4 | 1<<32} // an array of one 4-byte value
		return descriptor(sys(unix.SYS_BPF, unix.BPF_MAP_CREATE, memoryOf(bytesOf(&attr)), 72))
	}},
	{name: "performance", try: func(world) error {
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: uint32(64), Bits: unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv}
		return descriptor(sys(unix.SYS_PERF_EVENT_OPEN, memoryOf(bytesOf(&attr)), 0, minusOne, minusOne, 0))
	}},
	{name: "key-add", try: func(world) error {
		_, err := sys(unix.SYS_ADD_KEY, text("user"), text("picloud-hostile"), text("x"), 1, minusOne-1) // the process's own ring
		return err
	}},
	{name: "key-ring", try: call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, minusOne-1, 1)},
	{name: "key-request", try: func(world) error {
		_, err := sys(unix.SYS_REQUEST_KEY, text("user"), text("picloud-hostile-no-such-key"), 0, 0)
		return reached(err, unix.ENOKEY)
	}},
	{name: "module-load", try: reaching(unix.EBADF, unix.SYS_FINIT_MODULE, minusOne, 0, 0)},
	{name: "module-unload", try: func(world) error {
		_, err := sys(unix.SYS_DELETE_MODULE, text("picloud_no_such_module"), unix.O_NONBLOCK)
		return reached(err, unix.ENOENT)
	}},
	{name: "kernel-load", try: reaching(unix.EINVAL, unix.SYS_KEXEC_LOAD, 0, 0, 0, 1)},
	{name: "kernel-log", try: call(unix.SYS_SYSLOG, 10, 0, 0)}, // its size
	{name: "swap", try: reaching(unix.EFAULT, unix.SYS_SWAPON, 8, 0)},
	{name: "accounting", try: reaching(unix.EFAULT, unix.SYS_ACCT, 8)},
	{name: "quota", try: func(world) error {
		_, err := sys(unix.SYS_QUOTACTL, 0x800004<<8, text("/dev/null"), 0, zeros(64))
		return reached(err, unix.ENOTBLK, unix.ESRCH, unix.EINVAL)
	}},
	{name: "processor-restart", try: reaching(unix.EINVAL, unix.SYS_RSEQ, 0, 0, 0, 0)},
}
