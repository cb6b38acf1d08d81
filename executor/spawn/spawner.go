package spawn

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/picloud/picloud/executor/sandbox"
	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/hook"
)

// Options configure a Spawner. All fields but WorkerArgs are required.
type Options struct {
	WorkerPath string   // the worker's program
	WorkerArgs []string // its arguments, before those of the sandbox
	Sandbox    string   // Strict or BestEffort
	MaxWorkers int      // the most workers that share a uid
	Logger     *slog.Logger
}

// Spawner starts workers in the way that this machine permits. It is safe for
// concurrent use. Make it with New; Close it when every process is reaped.
type Spawner struct {
	image *image
	uids  *uidRange
	log   *slog.Logger
	opts  Options
	hooks hook.Spawn
	plans []plan

	mu     sync.Mutex
	chosen int // index of plans; -1: none is chosen yet
	found  Sandbox
	slips  map[int]bool // plans that failed after they were chosen, and were logged
}

// New opens the worker's program. It starts no process. Only tests set hooks.
func New(opts Options, hooks hook.Spawn) (*Spawner, error) {
	img, err := openImage(opts.WorkerPath)
	if err != nil {
		return nil, err
	}
	uids := newUIDRange(cmp.Or(hooks.UIDBase, firstUID), opts.Logger)
	s := &Spawner{
		image: img, uids: uids, log: opts.Logger, opts: opts, hooks: hooks,
		plans: plans(hooks.Without, uids.base != NoUID), chosen: -1, slips: map[int]bool{},
	}
	if hooks.Layers != nil { // a test's workers know nothing of sandboxes
		s.chosen = len(s.plans) - 1
		s.found = Sandbox{Mode: BestEffort, Plan: s.plans[s.chosen].name}
	}
	return s, nil
}

// Close releases the worker's program.
func (s *Spawner) Close() { s.image.close() }

// Sandbox returns what the workers of this node are kept in, as the last probe
// found it. It is empty before the first probe.
func (s *Spawner) Sandbox() Sandbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found
}

// Start starts a worker with a memory limit in bytes, under a uid of AcquireUID, and
// returns it with the agent's end of its socket. The caller reaps the process and
// closes the socket. The error is a *picloud.Error when the sandbox is not enough.
//
// The way that the probe chose can fail later, for example when a bound on
// namespaces is reached; Start then takes the next one. The worker itself refuses
// to go below the minimum, before it reads a byte.
func (s *Spawner) Start(memory int64, uid int) (*Process, *wire.Socket, error) {
	first, err := s.choose(context.Background()) // each probe has a timeout of its own
	if err != nil {
		return nil, nil, err
	}
	for i, p := range s.plans[first:] {
		process, socket, e := s.start(p, memory, uid, s.options(p, uid))
		if e == nil {
			return process, socket, nil
		}
		if err == nil {
			err = e
		}
		s.slipped(first+i, e)
	}
	return nil, nil, err
}

func (s *Spawner) start(p plan, memory int64, uid int, o sandbox.Options) (*Process, *wire.Socket, error) {
	hooks := hook.Sandbox{Without: s.hooks.Without}
	return s.image.run(slices.Concat(s.opts.WorkerArgs, o.Args(), hooks.Args()), memory, uid, p)
}

// Lacks returns what a worker must have beside the layers that it says it has, in
// the form of sandbox.Lacks.
func (s *Spawner) Lacks(layers []string) [][]string {
	switch {
	case s.hooks.Layers != nil:
		var lacks [][]string
		for _, name := range s.hooks.Layers {
			if !slices.Contains(layers, name) {
				lacks = append(lacks, []string{name})
			}
		}
		return lacks
	case s.opts.Sandbox == Strict:
		return sandbox.Lacks(layers)
	}
	return nil
}

// AcquireUID returns the uid for the workers of one app. On a node that is not root
// it is NoUID. It reports false when all uids are in use.
func (s *Spawner) AcquireUID() (uid int, ok bool) { return s.uids.acquire() }

// ReleaseUID returns a uid whose processes have all been reaped.
func (s *Spawner) ReleaseUID(uid int) { s.uids.release(uid) }

// slipped logs, once for each plan, that it failed after it was chosen.
func (s *Spawner) slipped(i int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i+1 < len(s.plans) && !s.slips[i] {
		s.slips[i] = true
		s.log.Warn(
			"an executor could not be started in the chosen way",
			slog.String("way", s.plans[i].name), slog.String("next", s.plans[i+1].name), slog.Any("error", err),
		)
	}
}
