package wire

import (
	"fmt"

	"github.com/picloud/picloud/executor/hostcall"
)

// HostCall asks the agent to do something for a call.
type HostCall struct {
	Seq  uint32 // counts the host calls of this call from 1; the reply repeats it
	Name string // module and function: "kv.get"
	Args []byte // a list in the encoding of internal/value, at most hostcall.MaxArguments
}

func (h *HostCall) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendUint(appendArray(dst, 3), uint64(h.Seq))
	dst = appendBytes(dst, cut(h.Name, maxName))
	return appendHeadOf(dst, majorBytes, uint64(len(h.Args))), h.Args
}

// Decode reads the payload of a HostCall frame. Args aliases it.
func (h *HostCall) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(3)
	h.Seq = uint32(c.uint(1<<32 - 1))
	h.Name = c.text(maxName)
	h.Args = c.bytes(hostcall.MaxArguments)
	return c.done("host call")
}

// DecodeHead reads Seq and Name of a payload whose end was cut off.
func (h *HostCall) DecodeHead(payload []byte) error {
	c := cursor{b: payload}
	c.record(3)
	h.Seq = uint32(c.uint(1<<32 - 1))
	h.Name = c.text(maxName)
	if c.bad {
		return fmt.Errorf("decode host call: %w", ErrMalformed)
	}
	return nil
}

// HostReply answers a HostCall.
type HostReply struct {
	Seq     uint32
	Code    string // stable, for scripts that catch it; empty: success
	Message string // why it failed; cut to MaxMessage
	Value   []byte // in the encoding of internal/value, at most hostcall.MaxAnswer; empty: null
}

func (h *HostReply) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendUint(appendArray(dst, 4), uint64(h.Seq))
	dst = appendBytes(dst, cut(h.Code, maxName))
	dst = appendBytes(dst, cut(h.Message, MaxMessage))
	return appendHeadOf(dst, majorBytes, uint64(len(h.Value))), h.Value
}

// Decode reads the payload of a HostReply frame. Value aliases it.
func (h *HostReply) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(4)
	h.Seq = uint32(c.uint(1<<32 - 1))
	h.Code = c.text(maxName)
	h.Message = c.text(MaxMessage)
	h.Value = c.bytes(hostcall.MaxAnswer)
	return c.done("host reply")
}
