package gateway

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/picloud/picloud/internal/budget"
)

// inbound is a request's body in memory.
type inbound struct {
	bytes.Buffer
	held int64 // of the node's transit memory
}

// inbounds are kept with their memory, unless they have grown over
// maxPooledBody: one large upload does not stay in memory.
var inbounds = sync.Pool{New: func() any { return new(inbound) }}

const maxPooledBody = 256 << 10

// smallBody is how much memory each body may take beside the node's budget for
// bodies, so that small calls go on when large ones have taken all of it.
const smallBody = 64 << 10

// firstRead is the memory that a body gets before a byte of it has come. What a
// request announces does not change it, because announcing costs a client nothing.
const firstRead = 4 << 10

var (
	errBodyTooLarge = errors.New("the request body is over the limit")
	errBodyNoRoom   = errors.New("no transit memory for the request body")
)

// read takes the whole body from src. declared is its length, -1 if unknown. The
// errors are errBodyTooLarge, errBodyNoRoom, and those of src.
func (in *inbound) read(src io.Reader, declared, limit int64, memory *budget.Budget) error {
	for {
		if in.Available() == 0 && !in.grow(declared, memory) {
			return errBodyNoRoom
		}
		space := in.AvailableBuffer()
		n, err := src.Read(space[:cap(space)])
		in.Write(space[:n]) // it is there already: this moves the end
		switch {
		case int64(in.Len()) > limit:
			return errBodyTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// grow makes room for more, twice as much each time, as far as the memory goes.
func (in *inbound) grow(declared int64, memory *budget.Budget) bool {
	more := int64(max(in.Cap(), firstRead))
	if declared >= 0 {
		if in.Len() >= smallBody { // it comes indeed: fewer steps leave less behind
			more *= 7
		}
		more = min(more, declared-int64(in.Len())+bytes.MinRead) // MinRead: to see the end
	}
	// A buffer that grows takes twice what it had at least.
	size := max(int64(in.Len())+more, 2*int64(in.Cap()))
	if need := size - smallBody - in.held; need > 0 {
		if !memory.Take(need) {
			return false
		}
		in.held += need
	}
	in.Grow(int(more))
	return true
}

// release gives the memory back; nothing may use the body any more.
func (in *inbound) release(memory *budget.Budget) {
	memory.Give(in.held)
	in.held = 0
	if in.Cap() <= maxPooledBody {
		in.Reset()
		inbounds.Put(in)
	}
}
