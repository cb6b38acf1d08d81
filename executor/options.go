package executor

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/spawn"
	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/hook"
	"github.com/picloud/picloud/internal/machine"
)

// WorkerCommand is the hidden subcommand with which picloud itself serves as the
// worker when picloud-executor is not beside it.
const WorkerCommand = "executor-worker"

// memoryForCalls is the default of Options.Memory.
const memoryForCalls = 96 << 20

const workerName = "picloud-executor"

// The modes of the sandbox, and what it is made of; see package spawn.
const (
	SandboxStrict     = spawn.Strict
	SandboxBestEffort = spawn.BestEffort
)

type (
	// Sandbox describes what the workers of this node are kept in.
	Sandbox = spawn.Sandbox
	// SandboxLayer is one layer of the sandbox.
	SandboxLayer = spawn.Layer
)

// Options configure an Executor. The zero value of a field means its default.
type Options struct {
	// WorkerPath is the worker's binary. Default: picloud-executor beside the
	// running program; when there is none, the running program itself, which is
	// slower, with the argument WorkerCommand.
	WorkerPath string
	// WorkerArgs are the arguments of the worker. Default: none.
	WorkerArgs []string
	// Logger takes what happens to workers. Default: nothing is logged.
	Logger *slog.Logger
	// Logs takes what functions log. Default: it is dropped.
	Logs LogSink
	// Host answers host calls. Default: there is no host function.
	Host Host
	// Metrics are counted into. Default: metrics that nobody reads.
	Metrics *Metrics
	// IdleTimeout is how long a worker without calls stays. Default 60 s.
	IdleTimeout time.Duration
	// MaxWorkers is the most workers of one app at once. Default: one per core, at most 4.
	MaxWorkers int
	// MemoryCap bounds the sum of the memory limits of all workers, in bytes.
	// Default: half of the machine's memory.
	MemoryCap int64
	// Memory bounds what the agent holds for calls: answers, and host calls with their
	// answers. Small ones are not counted. Default: 96 MiB.
	Memory *budget.Budget
	// Sandbox is SandboxStrict or SandboxBestEffort. Default: strict on Linux, best
	// effort elsewhere.
	Sandbox string
}

// The timeouts of an executor. Only tests shorten them; see hook.Executor.
const (
	queueTimeout = 30 * time.Second // a call waits for one of its function's places
	loadTimeout  = 2 * time.Second  // a worker loads a program
	drainTimeout = 10 * time.Second // Stop waits for calls under way
	compileWait  = 5 * time.Second  // Compile and Draft wait for a place
	memoryWait   = 3 * time.Second  // an app waits for the memory of its first worker
	overrunGrace = 10 * time.Second // a worker with a call that does not end still serves its other calls
)

// withDefaults completes the timeouts.
func withDefaults(h hook.Executor) hook.Executor {
	h.QueueTimeout = cmp.Or(h.QueueTimeout, queueTimeout)
	h.LoadTimeout = cmp.Or(h.LoadTimeout, loadTimeout)
	h.DrainTimeout = cmp.Or(h.DrainTimeout, drainTimeout)
	h.MemoryWait = cmp.Or(h.MemoryWait, memoryWait)
	h.CompileWait = cmp.Or(h.CompileWait, compileWait)
	h.OverrunGrace = cmp.Or(h.OverrunGrace, overrunGrace)
	return h
}

func (o Options) withDefaults() (Options, error) {
	if o.WorkerPath == "" {
		own, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find the worker's binary: %w", err)
		}
		o.WorkerPath = filepath.Join(filepath.Dir(own), workerName)
		if _, err := os.Stat(o.WorkerPath); err != nil {
			o.WorkerPath, o.WorkerArgs = own, []string{WorkerCommand}
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Host == nil {
		o.Host = noHost{}
	}
	if o.Memory == nil {
		o.Memory = budget.New(memoryForCalls)
	}
	o.Sandbox = cmp.Or(o.Sandbox, spawn.DefaultMode)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.MaxWorkers = cmp.Or(o.MaxWorkers, min(runtime.NumCPU(), 4))
	o.MemoryCap = cmp.Or(o.MemoryCap, machine.Memory()/2)
	if o.Sandbox != SandboxStrict && o.Sandbox != SandboxBestEffort {
		return o, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "configure executor", Detail: fmt.Sprintf("sandbox is %q", o.Sandbox),
			Hint: "it is " + SandboxStrict + " or " + SandboxBestEffort,
		}
	}
	if o.MaxWorkers < 0 || o.MemoryCap < int64(picloud.DefaultLimits().Memory) {
		return o, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "configure executor",
			Detail: fmt.Sprintf("max_workers %d, memory cap %d", o.MaxWorkers, o.MemoryCap),
			Hint:   "the memory cap holds at least one worker of 64 MiB; max_workers is positive",
		}
	}
	return o, nil
}
