package machine

import (
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Memory is what this process can have of the machine's memory, in bytes: all of it,
// or the smallest limit of the control groups that the process is in, as services and
// containers have them. Where the kernel does not say, it is 2 GiB: what a small board
// has.
func Memory() int64 { return memory() }

var memory = sync.OnceValue(func() int64 {
	total := int64(2 << 30)
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		total = int64(uint64(info.Totalram) * uint64(info.Unit)) //nolint:unconvert // it is a uint32 on 32-bit boards
	}
	groups, _ := os.ReadFile("/proc/self/cgroup") // no groups, no limits
	return limited(total, string(groups), func(name string) string {
		text, _ := os.ReadFile(name)
		return string(text)
	})
})

// limited returns the least of total and the limits of control groups. groups is
// /proc/self/cgroup: a line "0::/path" for version 2, "5:memory:/path" for version 1.
// A container may not see the groups above its own, and sees its own as the root.
func limited(total int64, groups string, read func(name string) string) int64 {
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		root, file := "/sys/fs/cgroup", "memory.max"
		if parts[1] != "" {
			root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		if parts[1] != "" && parts[1] != "memory" {
			continue
		}
		for at := path.Clean("/" + parts[2]); ; at = path.Dir(at) {
			n, err := strconv.ParseInt(strings.TrimSpace(read(path.Join(root, at, file))), 10, 64)
			if err == nil && n > 0 { // "max" is no limit
				total = min(total, n)
			}
			if at == "/" {
				break
			}
		}
	}
	return total
}
