//go:build unix

package spawn

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/picloud/picloud"
)

// Death is how a process ended.
type Death struct {
	// Stderr is the beginning and the end of what it wrote there, foreign text of several
	// KiB: messages quote Reason instead.
	Stderr string

	status syscall.WaitStatus
	usage  syscall.Rusage
}

// String returns the signal or the exit status.
func (d Death) String() string {
	if d.status.Signaled() {
		return "signal: " + d.status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", d.status.ExitStatus())
}

// maxReason bounds what Reason returns, in bytes.
const maxReason = 200

// Reason is the line of stderr that says why the process ended: the first with the Go
// runtime's words for that, else the first. The rest is a dump of its stacks.
func (d Death) Reason() string {
	first := ""
	for line := range strings.Lines(d.Stderr) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "panic: ") {
			return picloud.Shorten(line, maxReason)
		}
		if first == "" {
			first = line
		}
	}
	return picloud.Shorten(first, maxReason)
}

// OutOfMemory reports whether a process that the agent did not kill ended because
// it ran out of memory. limit is the limit of its heap, in bytes.
//
// In most cases the Go runtime says so on stderr. Two other ends count only when
// the process had used its memory: the runtime faults on its own stack where it
// does not check an allocation, and it blames the system when it cannot start a
// thread.
func (d Death) OutOfMemory(limit int64) bool {
	for line := range strings.Lines(d.Stderr) {
		words, fatal := strings.CutPrefix(line, "fatal error: ")
		switch {
		case !fatal:
		case strings.Contains(words, "out of memory"), strings.Contains(words, "cannot allocate memory"), strings.Contains(words, "failed to allocate"), strings.Contains(words, "cannot reserve"):
			return true
		case strings.HasPrefix(words, "newosproc"):
			return d.peak() >= nearly(limit)
		}
	}
	switch {
	case strings.HasPrefix(d.Stderr, "SIGSEGV") && strings.Contains(d.Stderr, "\ngoroutine 0 "):
		return strings.Contains(d.Stderr, unchecked) || d.peak() >= nearly(limit)
	case d.status.Signaled() && d.status.Signal() == syscall.SIGKILL:
		// The kernel killed it, because its cgroup or the machine ran out of memory.
		return d.peak() >= nearly(limit) && d.peak() > inherited()
	}
	return false
}

// unchecked is the function of Go 1.26's garbage collector that uses memory
// without checking that the allocation succeeded.
const unchecked = "runtime.(*spanQueue).tryDrain("

// nearly is the least that a process has used when it dies at its limit. It did not
// get its last allocation, and it need not have touched all of the others.
func nearly(limit int64) int64 { return limit / 2 }

// peak is an upper bound of the memory that the process had at any time, in bytes:
// the kernel counts from before exec, when the process shared the agent's memory.
func (d Death) peak() int64 { return int64(d.usage.Maxrss) << 10 } //nolint:unconvert // it is an int32 on 32-bit boards

// inherited is the largest peak that a process can owe to the agent's memory alone.
func inherited() int64 {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return 0
	}
	return int64(own.Maxrss) << 10 //nolint:unconvert // it is an int32 on 32-bit boards
}
