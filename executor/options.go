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
	"github.com/picloud/picloud/internal/machine"
)

// WorkerCommand is the hidden subcommand with which picloud itself serves as the
// worker when picloud-executor is not beside it.
const WorkerCommand = "executor-worker"

const workerName = "picloud-executor"

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
	// Metrics are counted into. Default: some that nobody sees.
	Metrics *Metrics
	// IdleTimeout is how long a worker without calls stays. Default 60 s.
	IdleTimeout time.Duration
	// MaxWorkers is the most workers of one app at once. Default: one per core, at most 4.
	MaxWorkers int
	// MemoryCap bounds the sum of the memory limits of all workers, in bytes.
	// Default: half of the machine's memory.
	MemoryCap int64
	// QueueTimeout is how long a call waits for one of its function's places. Default 30 s.
	QueueTimeout time.Duration
	// LoadTimeout is how long a worker may take to load a program. Default 2 s.
	LoadTimeout time.Duration
	// DrainTimeout is how long Stop waits for calls under way. Default 10 s.
	DrainTimeout time.Duration
	// CompileWait is how long Compile and Draft wait for a place. Default 5 s.
	CompileWait time.Duration
	// Sandbox is SandboxStrict or SandboxBestEffort. Default: strict on Linux, best
	// effort elsewhere.
	Sandbox string
	// Without are layers of the sandbox to leave out, so that tests see what
	// carries when a system lacks them.
	Without []string
	// Layers are the layers that a worker must have, for tests whose workers have
	// none: they are started without namespaces. Nil: what Sandbox asks for;
	// empty: none.
	Layers []string
	// UIDBase is the first of 4,096 user and group ids that workers get when the
	// agent is root, one per live app. Default 70000.
	UIDBase int
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
	o.Sandbox = cmp.Or(o.Sandbox, defaultSandbox)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.MaxWorkers = cmp.Or(o.MaxWorkers, min(runtime.NumCPU(), 4))
	o.MemoryCap = cmp.Or(o.MemoryCap, machine.Memory()/2)
	o.QueueTimeout = cmp.Or(o.QueueTimeout, 30*time.Second)
	o.LoadTimeout = cmp.Or(o.LoadTimeout, 2*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	o.CompileWait = cmp.Or(o.CompileWait, 5*time.Second)
	o.UIDBase = cmp.Or(o.UIDBase, 70_000)
	if o.Sandbox != SandboxStrict && o.Sandbox != SandboxBestEffort {
		return o, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "configure executor", Detail: fmt.Sprintf("sandbox is %q", o.Sandbox),
			Hint: "it is " + SandboxStrict + " or " + SandboxBestEffort,
		}
	}
	if o.MaxWorkers < 0 || o.MemoryCap < int64(picloud.DefaultLimits().Memory) || o.UIDBase < 1 {
		return o, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "configure executor",
			Detail: fmt.Sprintf("max_workers %d, memory cap %d, first uid %d", o.MaxWorkers, o.MemoryCap, o.UIDBase),
			Hint:   "the memory cap holds at least one worker of 64 MiB; the others are positive",
		}
	}
	return o, nil
}
