package executor

import (
	"context"
	"sync/atomic"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/budget"
)

// Host does what functions ask of the agent: the broker of the host modules.
type Host interface {
	// Call runs one host function. It returns one value in the encoding of
	// internal/value; nothing means null. The script sees a *hostcall.Error with its
	// code, and any other error as "internal". Call returns soon after ctx ends,
	// which is when the invocation ends or is given up. A panic of Call becomes an
	// error of the call.
	Call(ctx context.Context, call HostCall) ([]byte, error)
}

// HostCall is what a function asks. Who asks is known from the worker's socket.
type HostCall struct {
	App        string
	Function   string
	Version    int
	Invocation string
	Grants     any    // of the program, as the agent gave them
	Name       string // module and function: "kv.get"
	Args       hostcall.Arguments

	outbound *outbound     // nil: unlimited
	memory   *budget.Share // nil: unlimited
}

// Take reserves memory of the node for what the host makes for the call: n bytes more,
// until its answer is sent. The host calls it before it allocates what a function, an
// upstream or the database chose the size of. The error is a *hostcall.Error for the
// script.
func (c HostCall) Take(n int64) error {
	if c.memory.Take(n) {
		return nil
	}
	return hostcall.Errorf(hostcall.CodeBusy, "this node has no memory left for the answer: other calls fill it")
}

// Outbound takes one more of the requests to other machines that the invocation
// may make. The host calls it for each redirect; the executor itself takes one for
// each call of the module http. The error is a *hostcall.Error for the script.
func (c HostCall) Outbound() error { return c.outbound.take() }

// outbound counts the outbound requests of one invocation.
type outbound struct {
	limit int64
	made  atomic.Int64
}

func (o *outbound) take() error {
	if o == nil || o.made.Add(1) <= o.limit {
		return nil
	}
	return hostcall.Errorf(hostcall.CodeOutboundLimit, "the call made its %d outbound calls, redirects included", o.limit)
}

// noHost has no functions.
type noHost struct{}

func (noHost) Call(_ context.Context, c HostCall) ([]byte, error) {
	return nil, hostcall.Errorf(hostcall.CodeUnknown, "there is no host function %s", picloud.Shorten(c.Name, 80))
}
