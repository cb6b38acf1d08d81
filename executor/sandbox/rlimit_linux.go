package sandbox

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFiles is enough for stdio, the socket and the runtime's poller.
const maxFiles = 16

// limit is one resource limit.
type limit struct {
	name     string
	resource int
	max      uint64
}

// limits lists the resource limits. RLIMIT_AS is not among them, because the Go
// runtime reserves far more addresses than memory and fails under it.
func limits(opts Options) []limit {
	list := []limit{
		{"data", unix.RLIMIT_DATA, uint64(opts.Memory) + DataSlack},
		{"nofile", unix.RLIMIT_NOFILE, maxFiles},
		{"core", unix.RLIMIT_CORE, 0},
		{"fsize", unix.RLIMIT_FSIZE, 0},
		{"memlock", unix.RLIMIT_MEMLOCK, 0},
		{"msgqueue", unix.RLIMIT_MSGQUEUE, 0},
	}
	if opts.Threads > 0 { // without a count of its own, other processes of the same user would count
		list = append(
			list,
			limit{"nproc", unix.RLIMIT_NPROC, uint64(opts.Threads)},
			limit{"sigpending", unix.RLIMIT_SIGPENDING, uint64(4 * opts.Threads)}, // the runtime's own signals wait too
		)
	}
	return list
}

// setLimits sets the limits and reads them back. They belong to the process, not
// to a thread.
func setLimits(opts Options) error {
	for _, l := range limits(opts) {
		want := syscall.Rlimit{Cur: l.max, Max: l.max}
		var have syscall.Rlimit
		if err := syscall.Getrlimit(l.resource, &have); err == nil && have.Max < l.max {
			want = syscall.Rlimit{Cur: have.Max, Max: have.Max} // tighter already
		}
		if err := syscall.Setrlimit(l.resource, &want); err != nil {
			return fmt.Errorf("set resource limit %q: %w", l.name, err)
		}
		if err := syscall.Getrlimit(l.resource, &have); err != nil || have.Cur > l.max || have.Max > l.max {
			return fmt.Errorf("resource limit %q is %d after it was set to %d: %w", l.name, have.Max, l.max, err)
		}
	}
	return nil
}
