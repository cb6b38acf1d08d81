// Package hook holds what only tests change about executors: layers of the
// sandbox that are left out, other uids, shorter timeouts. No production code sets
// a field of these types, and no exported option of a production package leads to
// them: tests pass them to executor.NewHooked and spawn.New. The zero value of a
// field means the production behaviour.
package hook

import (
	"strings"
	"time"
)

// Executor is what tests change about an executor.
type Executor struct {
	Spawn
	// QueueTimeout is how long a call waits for one of its function's places. Default 30 s.
	QueueTimeout time.Duration
	// LoadTimeout is how long a worker may take to load a program. Default 2 s.
	LoadTimeout time.Duration
	// DrainTimeout is how long Stop waits for calls under way. Default 10 s.
	DrainTimeout time.Duration
	// CompileWait is how long Compile and Draft wait for a place. Default 5 s.
	CompileWait time.Duration
	// MemoryWait is how long an app waits for the memory of its first worker. Default 3 s.
	MemoryWait time.Duration
	// OverrunGrace is for how long a worker with a call that does not end still serves
	// its other calls. Default 10 s.
	OverrunGrace time.Duration
}

// Spawn is what tests change about the start of worker processes.
type Spawn struct {
	// Without are layers of the sandbox to leave out, so that a test shows which
	// other layers hold when a system lacks these.
	Without []string
	// Layers are the layers that a worker must have, for tests whose workers put
	// on none. Such workers are started without namespaces. Nil: the layers that
	// the mode of the sandbox requires; empty: none.
	Layers []string
	// UIDBase is the first of the uids that workers get when the agent is root, for
	// tests that run two executors on one machine. Default 70000.
	UIDBase int
}

// Sandbox is what tests change about the sandbox of a worker. It travels to the
// process as arguments, because the worker is the production program.
type Sandbox struct {
	// Without are layers that the worker does not put on.
	Without []string
	// Kill ends the process at a refused system call instead of answering EPERM, so
	// that a test shows that a worker needs none of those calls.
	Kill bool
}

const (
	argWithout = "--without="
	argKill    = "--kill"
)

// Args returns the arguments that carry s to the process.
func (s Sandbox) Args() []string {
	var args []string
	if len(s.Without) > 0 {
		args = append(args, argWithout+strings.Join(s.Without, ","))
	}
	if s.Kill {
		args = append(args, argKill)
	}
	return args
}

// ParseSandbox reads what Args wrote, and ignores all other arguments.
func ParseSandbox(args []string) Sandbox {
	var s Sandbox
	for _, arg := range args {
		if list, ok := strings.CutPrefix(arg, argWithout); ok {
			s.Without = strings.Split(list, ",")
		}
		s.Kill = s.Kill || arg == argKill
	}
	return s
}
