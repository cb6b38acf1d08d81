package executor

import (
	"fmt"
	"os"
	"syscall"

	"github.com/picloud/picloud/executor/sandbox"
)

// imagePath is the worker's program as its process sees it before exec.
func imagePath(name string) string {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return name
	}
	return fmt.Sprintf("/proc/self/fd/%d", sandbox.ImageFD)
}

// machineMemory is the machine's memory in bytes.
func machineMemory() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 2 << 30
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit))
}
