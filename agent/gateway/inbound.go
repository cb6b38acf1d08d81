package gateway

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/picloud/picloud/internal/budget"
)

// inbound is a request's body in memory.
type inbound struct {
	body []byte
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

const (
	// bodyPatience is how long a large body waits for memory, before it is read on.
	bodyPatience = 5 * time.Second
	// maxWaitingBodies bounds the bodies that wait.
	maxWaitingBodies = 256
)

var (
	errBodyTooLarge = errors.New("the request body is over the limit")
	errBodyNoRoom   = errors.New("no transit memory for the request body")
)

// transit is the memory of an app's large bodies on their way. Those that come in have
// their turn one after the other, and a half of the node's memory for bodies, so that
// there is room for the answers.
type transit struct {
	app      string
	inbound  *budget.Queue  // of all apps
	all      *budget.Budget // the app's part of the node's
	patience time.Duration
}

func newInboundQueue(all *budget.Budget) *budget.Queue {
	return budget.NewQueue(all.Limit()/2, maxWaitingBodies)
}

// newTransit returns an app's transit memory, of a node's.
func (g *Gateway) newTransit(app string) transit {
	return transit{app, g.inbound, g.opts.Bodies.Part(app), bodyPatience}
}

// take reserves n bytes for a body that comes in. The first time it waits for its turn;
// later it holds memory, and others may wait for that.
func (t *transit) take(done <-chan struct{}, n int64, first bool) bool {
	patience := t.patience
	if !first {
		patience = 0
	}
	if !t.inbound.Take(done, t.app, n, patience) {
		return false
	}
	if !t.all.Take(n) {
		t.inbound.Give(t.app, n)
		return false
	}
	return true
}

func (t *transit) give(n int64) {
	if n > 0 {
		t.all.Give(n)
		t.inbound.Give(t.app, n)
	}
}

// read takes the whole body from src. declared is its length, -1 if unknown. The
// errors are errBodyTooLarge, errBodyNoRoom, and those of src. When done is closed,
// nobody waits any more.
func (in *inbound) read(done <-chan struct{}, src io.Reader, declared, limit int64, memory *transit) error {
	for {
		if len(in.body) == cap(in.body) && !in.grow(done, declared, memory) {
			return errBodyNoRoom
		}
		n, err := src.Read(in.body[len(in.body):cap(in.body)])
		in.body = in.body[:len(in.body)+n]
		switch {
		case int64(len(in.body)) > limit:
			return errBodyTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// grow makes room for more, as far as the memory goes. The memory for a body whose
// length is declared is reserved as a whole, once the body has begun to come; it is
// allocated in steps.
func (in *inbound) grow(done <-chan struct{}, declared int64, memory *transit) bool {
	size := max(2*int64(cap(in.body)), firstRead)
	need := size
	if whole := declared + 1; declared >= int64(len(in.body)) { // one more, to see the end
		if len(in.body) >= smallBody {
			size *= 4 // it comes indeed: fewer steps leave less behind
		}
		size = min(size, whole)
		if need = size; size > smallBody {
			need = whole
		}
	}
	if more := need - smallBody - in.held; more > 0 {
		if !memory.take(done, more, in.held == 0) {
			return false
		}
		in.held += more
	}
	grown := make([]byte, len(in.body), size)
	copy(grown, in.body)
	in.body = grown
	return true
}

// release gives the memory back; nothing may use the body any more.
func (in *inbound) release(memory *transit) {
	memory.give(in.held)
	in.held = 0
	if cap(in.body) <= maxPooledBody {
		in.body = in.body[:0]
		inbounds.Put(in)
	}
}
