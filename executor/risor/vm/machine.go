package vm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/bytecode"
	"github.com/deepnoodle-ai/risor/v2/pkg/object"
)

const (
	maxFrames = 1024
	maxStack  = 64 << 10
	maxArgs   = 256

	// A list that is spread into a native function may be longer: how many items it
	// has depends on data.
	maxNativeArgs = 16 << 10

	// A machine keeps this much memory between runs; one that grew further
	// leaves the rest to the garbage collector.
	keepStack  = 256
	keepFrames = 32

	// The clock is read once per fuelStep instructions; a native call counts
	// as nativeCost, because it may take long.
	fuelStep   = 512
	nativeCost = 64
)

// Why a run was halted from outside. Scripts cannot catch these.
var (
	ErrDeadline  = errors.New("deadline exceeded")
	ErrCancelled = errors.New("cancelled")
)

// Run says under what conditions a machine runs.
type Run struct {
	Deadline time.Time    // zero: none
	Cancel   *atomic.Bool // set to halt the run; nil: never
	Env      any          // for native functions; see Env
}

// Machine is the state of one run at a time. Get takes one, Put gives it back.
type Machine struct {
	program *Program
	run     Run
	ctx     context.Context // what natives get: the machine, and how to call closures

	stack   []object.Object
	sp      int // the next free slot
	frames  []frame
	fp      int // the running frame
	deepest int // the highest fp so far
	globals []object.Object
	tries   []try

	fuel   int
	halted error // sticky; ErrDeadline or ErrCancelled
	trace  *Trace

	lastKey  *bytecode.Code // the function that was called last
	lastCode *code
}

type frame struct {
	code     *code
	fn       *object.Closure
	ip       int             // of the next instruction
	callee   int             // stack slot that the result goes to; arguments and locals are above it
	locals   []object.Object // a window of the stack, or memory of their own once captured
	scope    *scope          // the frame around the function, if it needs one
	tries    int             // how many were active when the frame began
	captured bool
	entry    bool // its return ends an execute
}

var machines = sync.Pool{New: func() any {
	m := &Machine{}
	m.ctx = object.WithCallFunc(m, m.callClosure)
	return m
}}

// Get returns a machine that holds nothing of earlier runs.
func Get(p *Program, run Run) *Machine {
	m := machines.Get().(*Machine)
	if m.stack == nil {
		m.stack = make([]object.Object, keepStack)
	}
	if m.frames == nil {
		m.frames = make([]frame, keepFrames)
	}
	m.program, m.run = p, run
	m.globals = append(m.globals[:0], p.globals...)
	m.sp, m.fp, m.fuel = 0, -1, fuelStep
	return m
}

// Put gives the machine back. Results that were taken from it stay valid.
func (m *Machine) Put() {
	if len(m.stack) > keepStack {
		m.stack = nil
	}
	if len(m.frames) > keepFrames {
		m.frames = nil
	}
	if cap(m.globals) > keepStack {
		m.globals = nil
	}
	clear(m.stack)
	clear(m.frames[:min(m.deepest+1, len(m.frames))])
	clear(m.globals)
	clear(m.tries[:cap(m.tries)])
	m.tries = m.tries[:0]
	m.program, m.run, m.halted, m.trace = nil, Run{}, nil, nil
	m.lastKey, m.lastCode, m.deepest = nil, nil, 0
	machines.Put(m)
}

// Top runs the top level of the program.
func (m *Machine) Top() (err error) {
	defer m.guard(&err)
	m.fp = 0
	m.frames[0] = frame{code: m.program.main, entry: true}
	if err := m.execute(0); err != nil {
		return m.failure(err)
	}
	m.sp = 0
	m.fp = -1
	return nil
}

// Global returns the value of a global after Top, or nil.
func (m *Machine) Global(name string) object.Object {
	if i, ok := m.program.names[name]; ok {
		return m.globals[i]
	}
	return nil
}

// Call calls a function that the program made. The clock is not read in the end:
// a caller that has no use for a late result asks Err when it is done with it.
func (m *Machine) Call(fn *object.Closure, args ...object.Object) (result object.Object, err error) {
	defer m.guard(&err)
	result, err = m.callClosure(m.ctx, fn, args)
	if err != nil {
		return nil, m.failure(err)
	}
	return result, nil
}

// guard turns a panic into an error. It ends the run: what the machine holds
// afterwards is not consistent.
func (m *Machine) guard(err *error) {
	r := recover()
	if r == nil {
		return
	}
	cause, ok := r.(error)
	if !ok {
		cause = fmt.Errorf("%v", r)
	}
	if m.trace == nil {
		m.trace = m.capture()
	}
	if !errors.Is(cause, errStack) {
		cause = fmt.Errorf("internal error: %w", cause)
	}
	*err = m.failure(cause)
}

// poll reads the clock and the cancel flag.
func (m *Machine) poll() error {
	if m.halted != nil {
		return m.halted
	}
	if m.run.Cancel != nil && m.run.Cancel.Load() {
		m.halted = ErrCancelled
	} else if !m.run.Deadline.IsZero() && !time.Now().Before(m.run.Deadline) {
		m.halted = ErrDeadline
	}
	return m.halted
}

func (m *Machine) refuel() error {
	m.fuel = fuelStep
	return m.poll()
}

// The machine is the context that natives get. It has no Done channel, so that
// a run costs no goroutine; natives that wait for something use their Env.
var _ context.Context = (*Machine)(nil)

// Deadline implements context.Context.
func (m *Machine) Deadline() (time.Time, bool) { return m.run.Deadline, !m.run.Deadline.IsZero() }

// Done implements context.Context. It returns nil.
func (m *Machine) Done() <-chan struct{} { return nil }

// Err implements context.Context: ErrDeadline, ErrCancelled or nil.
func (m *Machine) Err() error { return m.poll() }

type machineKey struct{}

// Value implements context.Context.
func (m *Machine) Value(key any) any {
	if _, ok := key.(machineKey); ok {
		return m
	}
	return nil
}

// Env returns the Env of the run that a native function was called in.
func Env(ctx context.Context) any { return ctx.Value(machineKey{}).(*Machine).run.Env }

// Tick counts one step of a native function that takes many, and returns why
// the run is halted, if it is.
func Tick(ctx context.Context) error {
	if m := ctx.Value(machineKey{}).(*Machine); !m.spend() {
		return m.halted
	}
	return nil
}
