package executor

import (
	"context"
	"errors"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
)

// Host does what functions ask of the agent: the broker of the host modules.
type Host interface {
	// Call runs one host function. It returns a value that wire.Marshal takes. A
	// *HostError reaches the script with its code, any other error as "internal".
	// It ends soon after ctx does, which is when the call ends or is given up.
	Call(ctx context.Context, call HostCall) (any, error)
}

// HostCall is what a function asks. Who asks is known from the worker's socket.
type HostCall struct {
	App        string
	Function   string
	Version    int
	Invocation string
	Grants     any    // of the program, as the agent gave them
	Name       string // module and function: "kv.get"
	Args       []any
}

// HostError is an error that a script can catch, with a stable code.
type HostError struct {
	Code    string
	Message string
}

// Error implements error.
func (e *HostError) Error() string { return e.Message }

// The codes that the executor itself answers host calls with.
const (
	hostUnknown  = "unknown_host_function"
	hostLimit    = "host_call_limit"
	hostBadArgs  = "invalid_arguments"
	hostInternal = "internal"
)

// hostSlack is how many host calls over its limit a call may make before its
// worker is taken for hostile: workers keep the limit themselves.
const hostSlack = 16

// noHost has no functions.
type noHost struct{}

func (noHost) Call(_ context.Context, c HostCall) (any, error) {
	return nil, &HostError{hostUnknown, "there is no host function " + picloud.Shorten(c.Name, 80)}
}

// hostCall runs a host call in a goroutine of its own and answers it. The limit
// bounds these goroutines too.
func (w *worker) hostCall(h wire.Header, payload []byte) error {
	var ask wire.HostCall
	if err := ask.Decode(payload); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fl := w.find(h.ID)
	if fl == nil {
		return foreign(h, "no such call")
	}
	p := &fl.function.program
	fl.hostCalls++
	if fl.hostCalls > p.Limits.HostCalls+hostSlack {
		return foreign(h, "a flood of host calls")
	}
	if fl.hostCalls == 1 {
		left := time.Duration(fl.deadline - w.exec.now())
		ctx, cancel := context.WithTimeout(w.ctx, left)
		fl.hostCtx, fl.cancel = ctx, cancel
	}
	call := HostCall{App: w.app, Function: p.Function, Version: p.Version, Invocation: fl.invoke.ID, Grants: p.Grants, Name: ask.Name}
	ctx, over := fl.hostCtx, fl.hostCalls > p.Limits.HostCalls
	args, err := wire.Unmarshal(ask.Args)
	if err != nil {
		return err
	}
	w.hosts.Go(func() {
		reply := wire.HostReply{Seq: ask.Seq}
		list, ok := args.([]any)
		switch {
		case over:
			reply.Code, reply.Message = hostLimit, "the call made all the host calls it may make"
		case args != nil && !ok:
			reply.Code, reply.Message = hostBadArgs, "arguments are a list"
		default:
			call.Args = list
			w.exec.broker(ctx, call, &reply)
		}
		// An error means that the worker is ending, and its calls with it.
		_ = w.frames.Send(wire.TypeHostReply, h.ID, &reply)
	})
	return nil
}

// broker asks the host and puts its answer into reply.
func (e *Executor) broker(ctx context.Context, call HostCall, reply *wire.HostReply) {
	value, err := e.opts.Host.Call(ctx, call)
	if err == nil {
		reply.Value, err = wire.Marshal(value)
	}
	if err == nil && len(reply.Value) > wire.MaxHostValue {
		reply.Value, err = nil, &HostError{hostInternal, "the answer is too large"}
	}
	var known *HostError
	switch {
	case err == nil:
	case errors.As(err, &known):
		reply.Code, reply.Message = known.Code, known.Message
	default:
		e.log.Error("host call failed", "app", call.App, "function", call.Function, "call", call.Name, "error", err)
		reply.Code, reply.Message = hostInternal, "the host call failed"
	}
}
