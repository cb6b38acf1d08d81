package risor

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/executor/risor/vm"
	"github.com/picloud/picloud/executor/wire"
)

// Host is what a call of a handler asks for things beyond computing.
type Host interface {
	// Log takes a record. The fields are a CBOR map as wire.Log carries it, or
	// empty; they are the host's only until it returns.
	Log(level wire.Level, message string, fields []byte)
	// Call asks for a function of the host and waits for its answer. Args is a
	// CBOR list, the value is CBOR too. An error that is a *hostcall.Error has a code.
	Call(name string, args []byte) (value []byte, err error)
	// Sleep waits, at most until the call ends.
	Sleep(d time.Duration) error
}

// Call is one call of a handler. The zero value of an optional field is named
// with it.
type Call struct {
	Handler     string           // of Handlers
	Request     *wire.Invocation // valid until the response has been sent: the response may alias it
	App         string
	Function    string
	Version     int
	Env         *Env         // nil: no variables
	Deadline    time.Time    // zero: none
	Cancel      *atomic.Bool // set to halt the call; nil: never
	Host        Host
	MaxResponse int // largest body in bytes; 0: any size

	// Response is the result of Invoke. Its memory is reused by the next Invoke
	// of the same Call.
	Response Response
}

// What a Call keeps for the next one: bytes of the body, and keys of a map.
const (
	keepBody = 64 << 10
	keepKeys = 256
)

// Reset forgets the call and keeps its memory, for the next Invoke.
func (c *Call) Reset() {
	r := Response{Header: c.Response.Header[:0], buf: c.Response.buf[:0], keys: c.Response.keys[:0]}
	if cap(r.buf) > keepBody {
		r.buf = nil
	}
	if cap(r.keys) > keepKeys {
		r.keys = nil
	}
	*c = Call{Response: r}
}

// callOf returns the call that a native function runs for.
func callOf(ctx context.Context) *Call { return vm.Env(ctx).(*Call) }
