package worker

import (
	"container/list"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor"
	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// maxSpare is how many compiled scripts the cache keeps beyond those in slots (least
// recently used first out).
const maxSpare = 32

// program is a loaded, or still loading, slot.
type program struct {
	load     wire.Load // without the source
	ready    atomic.Bool
	loaded   chan struct{} // closed when ready
	env      *module.Env
	compiled *risor.Program
	fault    *risor.Error // why there is no compiled
}

// wait returns when the program is loaded or has failed to.
func (p *program) wait() {
	if !p.ready.Load() {
		<-p.loaded
	}
}

// programs are the slots, and the scripts compiled for them.
type programs struct {
	table []*program // by slot; nil: free; for the reader alone

	mu    sync.Mutex // guards the rest
	cache map[[32]byte]*list.Element
	order list.List // of cached, most recently used first
}

type cached struct {
	digest   [32]byte
	compiled *risor.Program
}

// at returns the program of a slot, or nil.
func (p *programs) at(slot uint32) *program {
	if int64(slot) >= int64(len(p.table)) {
		return nil
	}
	return p.table[slot]
}

func (p *programs) unload(slot uint64) error {
	if slot >= uint64(len(p.table)) {
		return fmt.Errorf("unload slot %d of %d: %w", slot, len(p.table), wire.ErrMalformed)
	}
	p.table[slot] = nil
	return nil
}

// compile returns the compiled script, from the cache if it is there.
func (p *programs) compile(digest [32]byte, source []byte) (*risor.Program, error) {
	p.mu.Lock()
	if e, ok := p.cache[digest]; ok {
		p.order.MoveToFront(e)
		p.mu.Unlock()
		return e.Value.(*cached).compiled, nil
	}
	p.mu.Unlock()
	compiled, err := risor.Compile(source)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cache == nil {
		p.cache = map[[32]byte]*list.Element{}
	}
	p.cache[digest] = p.order.PushFront(&cached{digest, compiled})
	if p.order.Len() > maxSpare {
		oldest := p.order.Remove(p.order.Back()).(*cached)
		delete(p.cache, oldest.digest)
	}
	return compiled, nil
}

// load puts a program into its slot and leaves the work to the loader.
func (w *worker) load(slot uint64, payload *wire.Buffer) error {
	p := &program{loaded: make(chan struct{})}
	if err := p.load.Decode(payload.B); err != nil {
		return err
	}
	if slot >= uint64(len(w.programs.table)) || w.programs.table[slot] != nil {
		return fmt.Errorf("load into slot %d of %d, which is not free: %w", slot, len(w.programs.table), wire.ErrMalformed)
	}
	w.programs.table[slot] = p
	source := p.load.Source
	p.env = module.NewEnv(p.load.Env)
	p.load.Source, p.load.Env = nil, nil // both are the frame's
	return w.loader.add(loading{slot, p, source, payload, time.Now().Add(p.load.Timeout)})
}

// loader loads programs one after the other. Its goroutine lives while programs wait.
type loader struct {
	worker *worker

	mu      sync.Mutex
	queue   []loading
	running bool
}

type loading struct {
	slot     uint64
	program  *program
	source   []byte
	payload  *wire.Buffer // holds the source
	deadline time.Time
}

func (l *loader) add(next loading) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= wire.MaxPrograms {
		return fmt.Errorf("load into slot %d: %d others wait: %w", next.slot, len(l.queue), wire.ErrMalformed)
	}
	l.queue = append(l.queue, next)
	if !l.running {
		l.running = true
		l.worker.busy.Add(1)
		go l.run()
	}
	return nil
}

func (l *loader) run() {
	defer l.worker.busy.Done()
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.running, l.queue = false, nil
			l.mu.Unlock()
			return
		}
		next := l.queue[0]
		l.queue = l.queue[1:]
		l.mu.Unlock()
		l.load(next)
	}
}

func (l *loader) load(next loading) {
	w, p := l.worker, next.program
	answer := &wire.Loaded{}
	err := w.try(next)
	next.payload.Release()
	if err != nil {
		p.compiled, p.fault = nil, asError(err)
		answer.Failure = failureOf(p.fault)
	} else {
		answer.Handlers = p.compiled.Handlers()
	}
	// The agent must learn that the program is loaded before any call of it begins:
	// if the process ends earlier, the agent sends those calls to another worker. An
	// error means that the agent is gone, which the reader sees too.
	_ = w.frames.Deliver(wire.TypeLoaded, next.slot, answer)
	p.ready.Store(true)
	close(p.loaded)
}

// try compiles, and unless the program was deployed before runs its top level.
func (w *worker) try(next loading) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &risor.Error{Reason: wire.ReasonInternal, Message: fmt.Sprintf("internal error: %v", r)}
		}
	}()
	p := next.program
	if p.compiled, err = w.programs.compile(p.load.Digest, next.source); err != nil {
		return err
	}
	if p.load.Mode == wire.ModeServe {
		return nil
	}
	return p.compiled.Load(&risor.Call{
		App: w.app, Function: p.load.Function, Version: p.load.Version, Deadline: next.deadline,
		Access: module.Access{Env: p.env, Host: silent{}},
	})
}

// silent is the host of a load: there is no call that a record could belong to.
type silent struct{}

func (silent) Log(wire.Level, string, []byte) {}

func (silent) Call(name string, _ []byte) ([]byte, error) {
	return nil, notInACall(name)
}

func (silent) Sleep(time.Duration) error { return notInACall("time.sleep") }

func notInACall(name string) error {
	return hostcall.Errorf(hostcall.CodeNotInACall, "%s works in a handler only, not at the top level", name)
}
