package executor

import (
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
)

// The modes of the sandbox.
const (
	// SandboxStrict starts no function without the minimum: no_new_privs,
	// seccomp, no capabilities, resource limits, and Landlock or an empty root.
	SandboxStrict = "strict"
	// SandboxBestEffort takes what the system gives, and warns.
	SandboxBestEffort = "best_effort"
)

// Sandbox is what the workers of this node are kept in.
type Sandbox struct {
	Mode   string // SandboxStrict or SandboxBestEffort
	Plan   string // how workers are started, in words
	Layers []SandboxLayer
}

// SandboxLayer is one layer of the sandbox.
type SandboxLayer struct {
	Name    string // "landlock"
	Meaning string // what it takes from a worker
	On      bool
	Reason  string // why it is off
	Remedy  string // what a person can do about it
}

// on reports whether a layer is on.
func (s Sandbox) on(name string) bool {
	return slices.ContainsFunc(s.Layers, func(l SandboxLayer) bool { return l.Name == name && l.On })
}

// Lacks returns what strict needs and this sandbox has not. Empty: it is enough.
func (s Sandbox) Lacks() []string {
	var on []string
	for _, l := range s.Layers {
		if l.On {
			on = append(on, l.Name)
		}
	}
	return sandbox.Lacks(on)
}

// refusal is why no worker starts under strict; nil: it does.
func (s Sandbox) refusal() error {
	lacks := s.Lacks()
	if s.Mode != SandboxStrict || len(lacks) == 0 {
		return nil
	}
	var reasons, remedies []string
	for _, l := range s.Layers {
		if !l.On && slices.ContainsFunc(lacks, func(lack string) bool { return strings.Contains(lack, l.Name) }) {
			reasons = append(reasons, l.Name+": "+l.Reason)
			remedies = append(remedies, l.Name+": "+l.Remedy)
		}
	}
	remedies = append(remedies, "or set sandbox "+SandboxBestEffort+" and trust what you deploy")
	return &picloud.Error{
		Code: picloud.CodeExecutor, Op: "start executor", RetryAfter: reprobe,
		Detail: "the sandbox lacks " + strings.Join(lacks, ", ") + " (" + strings.Join(reasons, "; ") + ")",
		Hint:   strings.Join(remedies, "; "),
	}
}

// launcher starts workers in the way that this machine permits.
type launcher struct {
	image *image
	uids  *uidRange
	log   *slog.Logger
	opts  Options
	plans []plan

	mu     sync.Mutex
	chosen int // index of plans; -1: not known
	found  Sandbox
	slips  map[int]bool // plans that failed later, and were logged
}

func newLauncher(img *image, uids *uidRange, opts Options) *launcher {
	l := &launcher{image: img, uids: uids, log: opts.Logger, opts: opts, plans: plans(opts.Without, uids.base != noUID), chosen: -1, slips: map[int]bool{}}
	if opts.Layers != nil { // a test's workers know nothing of sandboxes
		l.chosen = len(l.plans) - 1
		l.found = Sandbox{Mode: SandboxBestEffort, Plan: l.plans[l.chosen].name}
	}
	return l
}

// run starts a worker. When the way that was found at the start fails now, as it
// does when a bound on namespaces is reached, the next one is taken; the worker
// itself refuses to go below the minimum, before it reads a byte.
func (l *launcher) run(memory int64, uid int) (*process, *wire.Socket, error) {
	first, err := l.choose()
	if err != nil {
		return nil, nil, err
	}
	for i, p := range l.plans[first:] {
		process, socket, e := l.start(p, memory, uid, l.options(p, uid))
		if e == nil {
			return process, socket, nil
		}
		if err == nil {
			err = e
		}
		l.slipped(first+i, e)
	}
	return nil, nil, err
}

func (l *launcher) start(p plan, memory int64, uid int, o sandbox.Options) (*process, *wire.Socket, error) {
	return l.image.run(slices.Concat(l.opts.WorkerArgs, o.Args()), memory, uid, p)
}

// lacks returns what a worker must have and does not say it has.
func (l *launcher) lacks(layers []string) []string {
	switch {
	case l.opts.Layers != nil:
		return slices.DeleteFunc(slices.Clone(l.opts.Layers), func(n string) bool { return slices.Contains(layers, n) })
	case l.opts.Sandbox == SandboxStrict:
		return sandbox.Lacks(layers)
	}
	return nil
}

// slipped logs, once for each plan, that it failed after it was chosen.
func (l *launcher) slipped(i int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i+1 < len(l.plans) && !l.slips[i] {
		l.slips[i] = true
		l.log.Warn("an executor could not be started in the chosen way", "way", l.plans[i].name, "next", l.plans[i+1].name, "error", err)
	}
}
