//go:build unix

package spawn

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOutOfMemory(t *testing.T) {
	const limit = 1 << 40 // more than any agent has
	const segv = "SIGSEGV: segmentation violation\nPC=0x43783d m=0 sigcode=1 addr=0x0\n\ngoroutine 0 gp=0x981fe0 m=0 mp=0x982da0 [idle]:"
	killed := syscall.WaitStatus(syscall.SIGKILL)
	for name, c := range map[string]struct {
		death Death
		used  int64
		want  bool
	}{
		"the runtime's words":      {Death{Stderr: "runtime: x\nfatal error: runtime: out of memory\n\nruntime stack:"}, 0, true},
		"in one line of it":        {Death{Stderr: "fatal error: out of memory allocating heap arena metadata"}, 0, true},
		"no memory":                {Death{Stderr: "fatal error: runtime: cannot allocate memory"}, 0, true},
		"a script's words":         {Death{Stderr: "picloud-executor: internal error: fatal error: out of memory"}, limit, false},
		"another fatal error":      {Death{Stderr: "fatal error: stack overflow"}, limit, false},
		"a panic":                  {Death{Stderr: "panic: out of memory"}, limit, false},
		"fault at the limit":       {Death{Stderr: segv}, limit, true},
		"fault below the limit":    {Death{Stderr: segv}, limit / 4, false},
		"fault of the collector":   {Death{Stderr: segv + "\nruntime.(*spanQueue).tryDrain(0x7ffc00000400?, 0x43f74f?, 0x9bbb6598?)"}, limit / 4, true},
		"fault of a goroutine":     {Death{Stderr: "SIGSEGV: segmentation violation\n\ngoroutine 7 [running]:"}, limit, false},
		"thread at the limit":      {Death{Stderr: "runtime: failed to create new OS thread (have 4 already; errno=12)\nfatal error: newosproc"}, limit, true},
		"thread below the limit":   {Death{Stderr: "runtime: failed to create new OS thread (have 4 already; errno=11)\nfatal error: newosproc"}, limit / 4, false},
		"killed at the limit":      {Death{status: killed}, limit, true},
		"killed below the limit":   {Death{status: killed}, limit / 4, false},
		"another signal":           {Death{status: syscall.WaitStatus(syscall.SIGTERM)}, limit, false},
		"an end without any words": {Death{}, limit, false},
	} {
		kilobytes(&c.death.usage.Maxrss, c.used)
		require.Equal(t, c.want, c.death.OutOfMemory(limit), name)
	}
	agent := Death{status: killed}
	kilobytes(&agent.usage.Maxrss, inherited())
	require.False(t, agent.OutOfMemory(16<<20), "it was the agent that had as much")
}

// kilobytes sets a field that has another size on other machines.
func kilobytes[T int32 | int64](field *T, bytes int64) { *field = T(bytes >> 10) }

func TestReasonIsOneLine(t *testing.T) {
	for stderr, want := range map[string]string{
		"": "",
		"fatal error: runtime: cannot allocate memory\n\nruntime stack:\n":      "fatal error: runtime: cannot allocate memory",
		"runtime: goroutine stack exceeds limit\nfatal error: stack overflow\n": "fatal error: stack overflow",
		"\nSIGSEGV: segmentation violation\nPC=0x43783d m=0\n":                  "SIGSEGV: segmentation violation",
	} {
		require.Equal(t, want, Death{Stderr: stderr}.Reason())
	}
	require.LessOrEqual(t, len(Death{Stderr: "panic: " + strings.Repeat("x", 4000)}.Reason()), maxReason+3)
}
