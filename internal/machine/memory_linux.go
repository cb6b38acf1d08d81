package machine

import "golang.org/x/sys/unix"

// Memory is the machine's memory in bytes. Where the kernel does not say, it is
// 2 GiB: what a small board has.
func Memory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 2 << 30
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit)) //nolint:unconvert // it is a uint32 on 32-bit boards
}
