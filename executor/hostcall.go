package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/budget"
)

// The bounds of host calls under way. A worker asks one thing at a time for each
// call; what is a little over that is a race at a deadline, more is hostile.
// Over another bound the script gets CodeBusy, which it can catch (backpressure).
const (
	hostSlack      = 16       // host calls over the limit of an invocation
	hostsPerCall   = 4        // at once, of one invocation
	hostsPerWorker = 1 << 10  // at once
	hostsPerNode   = 4 << 10  // at once
	hostInline     = 32 << 10 // arguments over this, in bytes, stay in the frame that brought them
	hostFree       = 16 << 10 // memory of each that does not count against Options.Memory, in bytes
)

// hostItem is what a value within the arguments counts besides its bytes, in bytes:
// more than a host function needs for one that it reads, such as a header field.
const hostItem = 48

// hostCall runs a host call in a goroutine of its own and answers it. Memory for its
// arguments and its answer is reserved until the answer was written, which a worker
// that does not read its socket can put off.
func (w *worker) hostCall(h wire.Header, payload []byte, reader *wire.Reader) error {
	var ask wire.HostCall
	decode := ask.Decode
	if reader.Cut() {
		decode = ask.DecodeHead
	}
	if err := decode(payload); err != nil {
		return err
	}
	call, ctx, refused, err := w.admitHostCall(h, ask.Name)
	if err != nil {
		return err
	}
	memory := &budget.Share{Of: w.transit, Free: hostFree}
	var held *wire.Buffer // large arguments, with the memory that is reserved for them
	admitted := false
	if refused == nil {
		args, items, err := hostcall.Parse(ask.Args)
		if err != nil {
			return fmt.Errorf("%w: %w", wire.ErrMalformed, err)
		}
		large, need := len(payload) > hostInline, hostItem*int64(items)
		if !large {
			need += int64(len(ask.Args))
		}
		switch admitted = w.consults(); {
		case !admitted || reader.Cut() || !memory.Take(need):
			refused = hostcall.Errorf(hostcall.CodeBusy, "too many host calls are under way")
		case large:
			held, call.Args = reader.Take(), args
		default:
			call.Args = args.Clone()
		}
	}
	call.memory = memory
	reply := wire.HostReply{Seq: ask.Seq}
	w.hosts.Go(func() {
		defer memory.GiveAll()
		defer held.Forget() // a request that was answered early may still be sending them
		if refused == nil {
			reply.Value, refused = w.exec.consult(ctx, call)
		}
		if admitted {
			w.consulted()
		}
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

// consults takes a place for a host call, or reports that there is none.
func (w *worker) consults() bool {
	switch {
	case w.consulting.Add(1) > hostsPerWorker:
	case w.exec.hosts.Add(1) > hostsPerNode:
		w.exec.hosts.Add(-1)
	default:
		return true
	}
	w.consulting.Add(-1)
	return false
}

func (w *worker) consulted() {
	w.exec.hosts.Add(-1)
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
