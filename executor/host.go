package executor

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/picloud/picloud"
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

	outbound *outbound // nil: unlimited
}

// Outbound takes one more of the requests to other machines that the invocation
// may make; for redirects, since the executor takes one for each call of the
// module http by itself. The error is a *HostError that may go to the script as
// it is.
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
	return &HostError{hostOutbound, fmt.Sprintf("the call made its %d outbound calls, redirects included", o.limit)}
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
	hostOutbound = "outbound_call_limit"
	hostBusy     = "host_busy"
	hostInternal = "internal"
)

// noHost has no functions.
type noHost struct{}

func (noHost) Call(_ context.Context, c HostCall) (any, error) {
	return nil, &HostError{hostUnknown, "there is no host function " + picloud.Shorten(c.Name, 80)}
}
