package worker

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// host serves one call: its records and its questions travel to the agent.
type host struct {
	call    *call
	logged  int           // bytes so far
	dropped int           // records over the limit
	asked   int           // host calls so far
	seq     atomic.Uint32 // of the question that waits
	replies chan *wire.HostReply
	woken   chan struct{} // the call was halted
}

var _ module.Host = (*host)(nil)

func (h *host) begin(c *call) {
	h.call = c
	if h.replies == nil {
		h.replies = make(chan *wire.HostReply, 1)
		h.woken = make(chan struct{}, 1)
	}
}

// end forgets the call.
func (h *host) end() {
	select {
	case <-h.replies:
	default:
	}
	select {
	case <-h.woken:
	default:
	}
	h.call, h.logged, h.dropped, h.asked = nil, 0, 0, 0
	h.seq.Store(0)
}

// The last words of a call, in bytes: what it says beyond its limit when it failed.
const (
	maxLastMessage = 2 << 10
	maxLastFields  = 1 << 10
)

// Log implements module.Host. Records over the limit are dropped. A record says so in
// the place of the first, and tally says at the end how many they were.
func (h *host) Log(level wire.Level, message string, fields []byte) {
	limit := h.call.program.load.LogBytes
	if h.dropped > 0 {
		h.dropped++
		return
	}
	if h.logged += max(len(message)+len(fields), 1); h.logged > limit {
		h.dropped = 1
		level, fields = wire.LevelWarn, nil
		message = fmt.Sprintf("log limit of %d bytes reached, the rest of this call is dropped", limit)
	}
	h.send(level, message, fields)
}

// fail logs what ended the call. It is in the log however much the call logged before,
// if need be without its end.
func (h *host) fail(message string, fields []byte) {
	if h.dropped == 0 && h.logged+len(message)+len(fields) <= h.call.program.load.LogBytes {
		h.Log(wire.LevelError, message, fields)
		return
	}
	if len(fields) > maxLastFields {
		fields = nil
	}
	h.send(wire.LevelError, data.Shorten(message, maxLastMessage), fields)
}

// tally says how many records the call lost.
func (h *host) tally() {
	if h.dropped > 0 {
		h.send(wire.LevelWarn, fmt.Sprintf("log limit: %d records of this call were dropped", h.dropped), nil)
	}
}

func (h *host) send(level wire.Level, message string, fields []byte) {
	// An error means that the agent is gone, which the reader sees too.
	_ = h.call.worker.frames.Send(wire.TypeLog, h.call.id, &wire.Log{Time: time.Now(), Level: level, Message: message, Fields: fields})
}

// Call implements module.Host: it waits for the agent's answer until the call's
// deadline.
func (h *host) Call(name string, args []byte) ([]byte, error) {
	c := h.call
	if h.asked++; h.asked > c.program.load.HostCalls {
		return nil, hostcall.Errorf(hostcall.CodeCallLimit, "%s: the call made its %d host calls", name, c.program.load.HostCalls)
	}
	if c.cancel.Load() {
		return nil, errHalted
	}
	h.seq.Store(uint32(h.asked))
	seq := uint32(h.asked)
	if err := c.worker.frames.Send(wire.TypeHostCall, c.id, &wire.HostCall{Seq: seq, Name: name, Args: args}); err != nil {
		return nil, errHalted
	}
	timer := time.NewTimer(time.Until(c.engine.Deadline))
	defer timer.Stop()
	select {
	case reply := <-h.replies:
		if reply.Code != "" {
			return nil, &hostcall.Error{Code: reply.Code, Message: reply.Message}
		}
		return reply.Value, nil
	case <-h.woken:
	case <-timer.C:
	}
	return nil, errHalted
}

// Sleep implements module.Host.
func (h *host) Sleep(d time.Duration) error {
	if h.call.cancel.Load() {
		return errHalted
	}
	left := time.Until(h.call.engine.Deadline)
	timer := time.NewTimer(min(d, left))
	defer timer.Stop()
	select {
	case <-h.woken:
		return errHalted
	case <-timer.C:
	}
	if d > left {
		return errHalted
	}
	return nil
}

// errHalted ends a wait. The script does not see it: its call is over.
var errHalted = hostcall.Errorf(hostcall.CodeCancelled, "the call is over")

// deliver hands an answer to the call. The reply's value must outlive the frame
// that it came in.
func (h *host) deliver(reply *wire.HostReply) {
	if reply.Seq != h.seq.Load() {
		return // to no question of this call
	}
	own := *reply
	own.Value = append([]byte(nil), reply.Value...)
	select {
	case h.replies <- &own:
	default: // a second answer to one question
	}
}

// wake ends a wait, now or later.
func (h *host) wake() {
	select {
	case h.woken <- struct{}{}:
	default:
	}
}
