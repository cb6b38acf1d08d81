package sandbox

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

var required = []string{NoNewPrivs, Rlimits}

// What syscall does not name.
const (
	prSetNoNewPrivs = 38
	prGetNoNewPrivs = 39
	rlimitMemlock   = 8
	rlimitMsgqueue  = 12
)

// maxFiles is enough for stdio, the socket and the runtime's poller.
const maxFiles = 16

// limits lists the resource limits. RLIMIT_AS is not among them: Go dies of it.
// RLIMIT_NPROC counts per uid and would hit other processes of the same user.
func limits(opts Options) []limit {
	return []limit{
		{"data", syscall.RLIMIT_DATA, uint64(opts.Memory) + DataSlack},
		{"nofile", syscall.RLIMIT_NOFILE, maxFiles},
		{"core", syscall.RLIMIT_CORE, 0},
		{"fsize", syscall.RLIMIT_FSIZE, 0},
		{"memlock", rlimitMemlock, 0},
		{"msgqueue", rlimitMsgqueue, 0},
	}
}

type limit struct {
	name     string
	resource int
	max      uint64
}

func apply(opts Options) error {
	if opts.Memory <= 0 {
		return errors.New("apply sandbox: no memory limit given")
	}
	closeImage()
	// The kernel's first choice when memory runs out; one may always raise it.
	// Without /proc it stays as it is, which weakens the node, not the sandbox.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	for _, l := range limits(opts) {
		want := syscall.Rlimit{Cur: l.max, Max: l.max}
		var have syscall.Rlimit
		if err := syscall.Getrlimit(l.resource, &have); err == nil && have.Max < l.max {
			want = syscall.Rlimit{Cur: have.Max, Max: have.Max} // tighter already
		}
		if err := syscall.Setrlimit(l.resource, &want); err != nil {
			return fmt.Errorf("set resource limit %q: %w", l.name, err)
		}
	}
	// The flag belongs to a thread, and the runtime has several by now.
	_, _, errno := syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0)
	if errno != 0 && errno != syscall.ENOTSUP { // ENOTSUP: a cgo build; Verify will not list the layer
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	return nil
}

// closeImage closes ImageFD if it is this program. Elsewhere, such as in a test,
// that number may be anything.
func closeImage() {
	var held, self syscall.Stat_t
	if syscall.Fstat(ImageFD, &held) == nil && syscall.Stat("/proc/self/exe", &self) == nil &&
		held.Dev == self.Dev && held.Ino == self.Ino {
		_ = syscall.Close(ImageFD)
	}
}

func verify(opts Options) ([]string, error) {
	var on []string
	// Were the answers of two threads to differ, the runtime would end the process.
	flag, _, errno := syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, prGetNoNewPrivs, 0, 0, 0, 0, 0)
	if errno == 0 && flag == 1 {
		on = append(on, NoNewPrivs)
	}
	bounded := true
	for _, l := range limits(opts) {
		var have syscall.Rlimit
		if err := syscall.Getrlimit(l.resource, &have); err != nil {
			return nil, fmt.Errorf("read resource limit %q: %w", l.name, err)
		}
		bounded = bounded && have.Cur <= l.max && have.Max <= l.max
	}
	if bounded {
		on = append(on, Rlimits)
	}
	return on, nil
}
