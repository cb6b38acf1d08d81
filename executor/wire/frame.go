package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is the version of the protocol. Both sides are built together; a
// different version ends the worker.
const Version = 2

// HeaderSize is the size of a frame's header in bytes.
const HeaderSize = 16

// MaxPayload is the largest payload of any frame in bytes: the largest body,
// and a MiB for what surrounds it.
const MaxPayload = 65 << 20

// Type says what a frame is.
type Type uint8

// The types of frames. Those up to TypeUnload come from the agent, the others
// from the worker.
const (
	TypeConfig    Type = 1 // the worker's app and limits; first frame, id 0
	TypeLoad      Type = 2 // compile a program into a slot; id: slot
	TypeInvoke    Type = 3 // run a program once; id: call
	TypeCancel    Type = 4 // stop a call; no payload; id: call
	TypeHostReply Type = 5 // the answer to a HostCall; id: call
	TypeUnload    Type = 6 // forget a slot, running calls go on; no payload; id: slot

	TypeHello    Type = 16 // the worker is up, with these layers of its sandbox on; id 0
	TypeLoaded   Type = 17 // a Load succeeded or failed; id: slot
	TypeResult   Type = 18 // a call succeeded; id: call
	TypeFailure  Type = 19 // a call failed; id: call
	TypeHostCall Type = 20 // a call asks the agent for something; id: call
	TypeLog      Type = 21 // a call logged; id: call
)

var typeNames = [...]string{
	TypeConfig: "config", TypeLoad: "load", TypeInvoke: "invoke", TypeCancel: "cancel",
	TypeHostReply: "host_reply", TypeUnload: "unload", TypeHello: "hello", TypeLoaded: "loaded",
	TypeResult: "result", TypeFailure: "failure", TypeHostCall: "host_call", TypeLog: "log",
}

// String returns the type's name.
func (t Type) String() string {
	if t.valid() {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

func (t Type) valid() bool { return int(t) < len(typeNames) && typeNames[t] != "" }

// FromWorker reports whether frames of this type are sent by workers.
func (t Type) FromWorker() bool { return t >= TypeHello && t.valid() }

// Header precedes every payload: u32 length, u8 type, u8 flags (0), u16
// reserved (0), u64 id, all little-endian.
type Header struct {
	Length uint32 // of the payload, in bytes
	Type   Type
	ID     uint64 // a call or a slot, by type
}

// ErrMalformed says that the peer sent something that is not the protocol.
var ErrMalformed = errors.New("malformed frame")

// ErrTooLong says that a frame's announced length is over its limit.
var ErrTooLong = errors.New("frame over its size limit")

func putHeader(dst []byte, h Header) {
	_ = dst[HeaderSize-1]
	binary.LittleEndian.PutUint32(dst, h.Length)
	dst[4], dst[5], dst[6], dst[7] = byte(h.Type), 0, 0, 0
	binary.LittleEndian.PutUint64(dst[8:], h.ID)
}

// parseHeader reads a header from the first HeaderSize bytes of src.
func parseHeader(src []byte) (Header, error) {
	_ = src[HeaderSize-1]
	h := Header{
		Length: binary.LittleEndian.Uint32(src),
		Type:   Type(src[4]),
		ID:     binary.LittleEndian.Uint64(src[8:]),
	}
	if src[5]|src[6]|src[7] != 0 || !h.Type.valid() {
		return h, fmt.Errorf("read header % x: %w", src[:HeaderSize], ErrMalformed)
	}
	return h, nil
}

// AppendFrame appends a whole frame to dst. It serves cold paths and tests;
// Writer.Send is the hot one. A nil payload is an empty one.
func AppendFrame(dst []byte, t Type, id uint64, p Payload) []byte {
	dst, tail := appendHead(dst, t, id, p)
	return append(dst, tail...)
}

// appendHead appends the header and the payload up to its tail.
func appendHead(dst []byte, t Type, id uint64, p Payload) (head, tail []byte) {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	if p != nil {
		dst, tail = p.appendPayload(dst)
	}
	putHeader(dst[start:], Header{Length: uint32(len(dst) - start - HeaderSize + len(tail)), Type: t, ID: id})
	return dst, tail
}

// Payload is what a frame carries: one of *Config, *Hello, *Load, *Loaded,
// *Invoke, *Result, *Failure, *HostCall, *HostReply and *Log.
type Payload interface {
	// appendPayload appends the encoding to dst. The tail, if any, belongs
	// directly behind it; large bodies travel there without being copied.
	appendPayload(dst []byte) (head, tail []byte)
}
