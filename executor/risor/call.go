package risor

import (
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/executor/risor/module"
)

// Call is one call of a handler. The zero value of an optional field is named
// with it.
type Call struct {
	module.Access // what native functions reach

	Handler     string // of Handlers
	App         string
	Function    string
	Version     int
	Deadline    time.Time    // zero: none
	Cancel      *atomic.Bool // set to halt the call; nil: never
	MaxResponse int          // largest body in bytes; 0: any size

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
