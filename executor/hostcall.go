package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/wire"
)

// The bounds of host calls under way. A worker asks one thing at a time for each
// call; what is a little over that is a race at a deadline, more is hostile.
// Over another bound the script gets CodeBusy, which it can catch (backpressure).
const (
	hostSlack      = 16       // host calls over the limit of an invocation
	hostsPerCall   = 4        // at once, of one invocation
	hostsPerWorker = 1 << 10  // at once
	hostsPerNode   = 4 << 10  // at once
	hostMemory     = 64 << 20 // of all arguments on the node, in bytes, with hostItem for each value
	hostReplies    = 96 << 20 // of all large answers on the node until they are sent, in bytes
	hostSmallReply = 16 << 10 // answers up to this are not large
)

// hostItem is what a value within the arguments counts besides its bytes, in bytes:
// more than a host function needs for one that it reads, such as a header field.
const hostItem = 48

// hostLoad is what the host calls under way of a node take.
type hostLoad struct {
	mu      sync.Mutex
	calls   int
	memory  int
	replies int
}

// take reserves a place and memory for arguments, or reports that they do not fit.
func (l *hostLoad) take(memory int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls >= hostsPerNode || l.memory+memory > hostMemory {
		return false
	}
	l.calls++
	l.memory += memory
	return true
}

func (l *hostLoad) give(memory int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls--
	l.memory -= memory
}

// keep takes memory for an answer until it is sent, which a worker that does
// not read its socket can put off; or it reports that there is none.
func (l *hostLoad) keep(answer int) bool {
	if answer <= hostSmallReply {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.replies+answer > hostReplies {
		return false
	}
	l.replies += answer
	return true
}

func (l *hostLoad) sent(answer int) {
	if answer > hostSmallReply {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.replies -= answer
	}
}

// hostCall runs a host call in a goroutine of its own and answers it.
func (w *worker) hostCall(h wire.Header, payload []byte) error {
	var ask wire.HostCall
	if err := ask.Decode(payload); err != nil {
		return err
	}
	call, ctx, refused, err := w.admitHostCall(h, ask.Name)
	if err != nil {
		return err
	}
	held := 0
	if refused == nil {
		args, items, err := hostcall.Parse(ask.Args)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		if held = len(ask.Args) + hostItem*items; w.consults(held) {
			call.Args = args.Clone()
		} else {
			refused = hostcall.Errorf(hostcall.CodeBusy, "too many host calls are under way")
		}
	}
	reply := wire.HostReply{Seq: ask.Seq}
	w.hosts.Go(func() {
		if refused == nil {
			reply.Value, refused = w.exec.consult(ctx, call)
			w.consulted(held)
		}
		if !w.exec.hosts.keep(len(reply.Value)) {
			reply.Value, refused = nil, hostcall.Errorf(hostcall.CodeBusy, "too many large answers are on their way")
		}
		defer w.exec.hosts.sent(len(reply.Value))
		w.exec.explain(refused, call, &reply)
		w.replied(h.ID)
		// An error means that the worker is ending, and its calls with it.
		_ = w.frames.Send(wire.TypeHostReply, h.ID, &reply)
	})
	return nil
}

// admitHostCall counts a host call of a flight. It returns what is asked, and in
// refused why the script does not get it.
func (w *worker) admitHostCall(h wire.Header, name string) (call HostCall, ctx context.Context, refused, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fl := w.find(h.ID)
	if fl == nil {
		return call, nil, nil, foreign(h, "no such call")
	}
	p := &fl.function.program
	fl.hostCalls++
	if fl.hostCalls > p.Limits.HostCalls+hostSlack || fl.asking >= hostsPerCall {
		return call, nil, nil, foreign(h, "a flood of host calls")
	}
	if fl.hostCalls == 1 {
		left := time.Duration(fl.deadline - w.exec.now())
		fl.hostCtx, fl.cancel = context.WithTimeout(w.ctx, left)
	}
	call = HostCall{App: w.app, Function: p.Function, Version: p.Version, Invocation: fl.invoke.ID, Grants: p.Grants, Name: name}
	switch {
	case fl.abandoned: // its cancel is on its way
		refused = hostcall.Errorf(hostcall.CodeCancelled, "the call is over")
	case fl.hostCalls > p.Limits.HostCalls:
		refused = hostcall.Errorf(hostcall.CodeCallLimit, "the call made all the host calls it may make")
	case strings.HasPrefix(name, hostcall.OutboundPrefix):
		if fl.outbound == nil {
			fl.outbound = &outbound{limit: int64(p.Limits.OutboundCalls)}
		}
		call.outbound = fl.outbound
		refused = call.Outbound()
	}
	if fl.asking++; fl.asking == 1 { // it takes no processor now, and the worker made progress
		w.waiting.Add(1)
		w.pace(w.exec.now())
	}
	return call, fl.hostCtx, refused, nil
}

// replied notes that a host call has its answer.
func (w *worker) replied(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fl := w.find(id)
	if fl == nil || w.dead.Load() {
		return // the call ended, and with it its wait; or it is to be known that it waited
	}
	if fl.asking--; fl.asking == 0 {
		w.waiting.Add(-1)
		if w.running() == 1 {
			w.progress.Store(w.exec.now())
		}
	}
}

// consults takes a place for a host call, and memory for its arguments.
func (w *worker) consults(memory int) bool {
	if w.consulting.Add(1) <= hostsPerWorker && w.exec.hosts.take(memory) {
		return true
	}
	w.consulting.Add(-1)
	return false
}

func (w *worker) consulted(memory int) {
	w.exec.hosts.give(memory)
	w.consulting.Add(-1)
}

// consult asks the host. It recovers the panics of host functions: arguments come
// from scripts, and must not end the node.
func (e *Executor) consult(ctx context.Context, call HostCall) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("host function panicked: %v\n%s", r, debug.Stack())
		}
	}()
	out, err = e.opts.Host.Call(ctx, call)
	switch {
	case err != nil:
		return nil, err
	case len(out) > hostcall.MaxAnswer:
		return nil, hostcall.Errorf(hostcall.CodeInternal, "the answer is too large")
	}
	return out, nil
}

// explain puts an error into a reply, if there is one.
func (e *Executor) explain(err error, call HostCall, reply *wire.HostReply) {
	var known *hostcall.Error
	switch {
	case err == nil:
	case errors.As(err, &known):
		reply.Code, reply.Message = known.Code, known.Message
	default:
		e.log.Error("host call failed", slog.String("app", call.App), slog.String("function", call.Function), slog.String("call", call.Name), slog.Any("error", err))
		reply.Code, reply.Message = hostcall.CodeInternal, "the host call failed"
	}
}
