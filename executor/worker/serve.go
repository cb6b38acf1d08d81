package worker

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/executor/risor"
	"github.com/picloud/picloud/executor/wire"
)

// maxCalls is how many calls may be under way at once. The agent admits far fewer, so
// more of them are a fault of the agent.
const maxCalls = 64 << 10

// maxIdle is how many goroutines wait for the next call.
const maxIdle = 64

// worker is one conversation with the agent.
type worker struct {
	socket   socket
	frames   *wire.Writer
	app      string
	programs programs
	loader   loader
	trimmer  trimmer

	mu    sync.Mutex
	calls map[uint64]*call // under way, by id

	work chan *call    // to idle goroutines
	idle atomic.Int32  // goroutines that wait in work, or are about to
	stop chan struct{} // closed when the conversation ended
	busy sync.WaitGroup

	fault atomic.Pointer[risor.Error] // why the worker gave up
}

// socket is the worker's end of the conversation: a *wire.Socket.
type socket interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
}

func newWorker(s socket) *worker {
	w := &worker{
		socket: s,
		frames: wire.NewWriter(s, true),
		calls:  map[uint64]*call{},
		work:   make(chan *call),
		stop:   make(chan struct{}),
	}
	w.loader.worker = w
	w.trimmer.free, w.trimmer.wake = debug.FreeOSMemory, wakeMonitor
	return w
}

// serve speaks with the agent until it closes the socket, which is not an error, or
// something breaks. Calls that are under way then are halted but may spin on;
// the end of the process ends them.
func (w *worker) serve(hello wire.Hello) error {
	err := w.frames.Send(wire.TypeHello, 0, &hello)
	if err == nil {
		err = w.read(wire.NewReader(w.socket, admit))
	}
	if fault := w.fault.Load(); fault != nil {
		err = fault
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	w.close(err)
	return err
}

// close halts what is under way.
func (w *worker) close(err error) {
	if err == nil {
		err = io.EOF
	}
	w.frames.Close(err)
	close(w.stop)
	w.trimmer.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		c.halt()
	}
}

// giveUp ends the worker because of a fault of its own.
func (w *worker) giveUp(fault *risor.Error) {
	w.fault.CompareAndSwap(nil, fault)
	_ = w.socket.SetReadDeadline(time.Now()) // it fails for closed sockets only
}

func admit(h wire.Header) (limit int, err error) {
	if h.Type.FromWorker() {
		return 0, fmt.Errorf("%s is not a frame that an agent sends: %w", h.Type, wire.ErrMalformed)
	}
	return wire.MaxPayload, nil
}

// read takes frames until there are no more.
func (w *worker) read(r *wire.Reader) error {
	h, payload, err := r.Next()
	if err != nil {
		return err
	}
	var config wire.Config
	if h.Type != wire.TypeConfig {
		return fmt.Errorf("%s came before config: %w", h.Type, wire.ErrMalformed)
	}
	if err := config.Decode(payload); err != nil {
		return err
	}
	if config.Version != wire.Version {
		return fmt.Errorf("the agent speaks version %d of the protocol, not %d", config.Version, wire.Version)
	}
	w.app = config.App
	w.programs.table = make([]*program, config.Programs)
	for {
		h, payload, err := r.Next()
		if err != nil {
			return err
		}
		if err := w.receive(h, payload, r); err != nil {
			return err
		}
	}
}

func (w *worker) receive(h wire.Header, payload []byte, r *wire.Reader) error {
	switch h.Type {
	case wire.TypeInvoke:
		return w.invoke(h.ID, r.Take())
	case wire.TypeLoad:
		w.trimmer.active()
		return w.load(h.ID, r.Take())
	case wire.TypeUnload:
		return w.programs.unload(h.ID)
	case wire.TypeCancel:
		w.with(h.ID, (*call).halt)
		return nil
	case wire.TypeHostReply:
		var reply wire.HostReply
		if err := reply.Decode(payload); err != nil {
			return err
		}
		w.trimmer.active()
		w.with(h.ID, func(c *call) { c.host.deliver(&reply) })
		return nil
	}
	return fmt.Errorf("%s came a second time: %w", h.Type, wire.ErrMalformed)
}

// with runs a function on a call, if the call is still under way. Meanwhile the
// call's memory is not reused.
func (w *worker) with(id uint64, do func(*call)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.calls[id]; ok {
		do(c)
	}
}

// invoke starts a call, in an idle goroutine if there is one.
func (w *worker) invoke(id uint64, payload *wire.Buffer) error {
	c := newCall(w, id, payload)
	if err := c.request.Decode(payload.B); err != nil {
		return err
	}
	c.program = w.programs.at(c.request.Slot)
	c.begin()
	w.mu.Lock()
	_, twice := w.calls[id]
	full := len(w.calls) >= maxCalls
	if !twice && !full {
		w.calls[id] = c
	}
	w.mu.Unlock()
	if twice || full {
		return fmt.Errorf("call %d: the agent lost count: %w", id, wire.ErrMalformed)
	}
	w.trimmer.active()
	select {
	case w.work <- c:
	default:
		w.busy.Add(1)
		go w.run(c)
	}
	return nil
}

// run runs calls until there are enough goroutines without it.
func (w *worker) run(c *call) {
	defer w.busy.Done()
	for {
		c.run()
		if w.idle.Add(1) > maxIdle {
			w.idle.Add(-1)
			return
		}
		select {
		case c = <-w.work:
			w.idle.Add(-1)
		case <-w.stop:
			return
		}
	}
}
