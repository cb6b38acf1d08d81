//go:build unix

package executor

import (
	"strings"
	"syscall"
)

// outOfMemory reports whether a process that nobody ended died for want of
// memory. The limit is that of its heap, in bytes.
//
// Mostly the runtime says so. Where it does not check what it got, it dies of a
// nil pointer on its own stack, and where it cannot start a thread it blames the
// system: those count when the process had used its memory, and only then.
func (e end) outOfMemory(limit int64) bool {
	for line := range strings.Lines(e.stderr) {
		words, fatal := strings.CutPrefix(line, "fatal error: ")
		switch {
		case !fatal:
		case strings.Contains(words, "out of memory"), strings.Contains(words, "cannot allocate memory"), strings.Contains(words, "failed to allocate"), strings.Contains(words, "cannot reserve"):
			return true
		case strings.HasPrefix(words, "newosproc"):
			return e.peak() >= nearly(limit)
		}
	}
	switch {
	case strings.HasPrefix(e.stderr, "SIGSEGV") && strings.Contains(e.stderr, "\ngoroutine 0 "):
		return strings.Contains(e.stderr, unchecked) || e.peak() >= nearly(limit)
	case e.status.Signaled() && e.status.Signal() == syscall.SIGKILL:
		// The kernel ended it: for its group's memory, or for the machine's.
		return e.peak() >= nearly(limit) && e.peak() > inherited()
	}
	return false
}

// unchecked is where the collector of Go 1.26 uses memory that it asked for
// without a look at whether it got any.
const unchecked = "runtime.(*spanQueue).tryDrain("

// nearly is how much a process has used at least when it dies at its limit: what
// it asked for last it did not get, and what it got it need not have touched.
func nearly(limit int64) int64 { return limit / 2 }

// peak is the most memory that the process had, in bytes, or more: the kernel
// counts from before exec on, when it shared the agent's.
func (e end) peak() int64 { return int64(e.usage.Maxrss) << 10 }

// inherited is the most that a peak may be without the process's own doing.
func inherited() int64 {
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return 0
	}
	return int64(own.Maxrss) << 10
}
