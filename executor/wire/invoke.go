package wire

import (
	"fmt"
	"time"
)

// maxText bounds one text of an Invoke: the path, the query.
const maxText = 1 << 20

// maxTimeout bounds the time that a call may have.
const maxTimeout = 24 * time.Hour

// Invoke asks for one run of a program's handler. It is the sender's side; the
// worker reads an Invocation.
type Invoke struct {
	Slot     uint32
	Timeout  time.Duration // what is left of the call's time when the frame is sent; microseconds count
	Trigger  string        // "http", "draft"
	ID       string        // of the invocation, for people
	Method   string
	Path     string // below the function, decoded, with a leading slash
	RawPath  string // Path as the client sent it, still encoded; empty: Path has nothing that was encoded
	Base     string // where the function is, as the client wrote it, without a slash at the end: "/fn/shop/orders"
	Route    string // the pattern of the function's settings that fits; empty: the settings have none
	Query    string // raw, without the question mark
	ClientIP string
	Host     string // becomes the pair "Host" of the header block unless it is empty
	Header   map[string][]string
	Params   Pairs // the named parts of the path, decoded, in the order of Route
	Body     []byte
}

// CheckSize reports whether the texts and headers fit into a frame that the
// worker accepts. The body's limit is the caller's business, up to 64 MiB.
func (v *Invoke) CheckSize() error {
	if max(len(v.Trigger), len(v.ID), len(v.Method), len(v.Path), len(v.RawPath), len(v.Base), len(v.Route), len(v.Query), len(v.ClientIP), len(v.Host)) > maxText/2 {
		return fmt.Errorf("encode invoke: %w", ErrTooLong)
	}
	pairs, size := 1, len(v.Host)+20
	for name, values := range v.Header {
		pairs += len(values)
		for _, value := range values {
			size += len(name) + len(value) + 10
		}
	}
	if pairs > MaxPairs || max(size, len(v.Params)) > MaxPairsBytes || len(v.Body) > MaxPayload-(1<<20) {
		return fmt.Errorf("encode invoke: %w", ErrTooLong)
	}
	return nil
}

func (v *Invoke) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendArray(dst, 14)
	dst = appendUint(dst, uint64(v.Slot))
	dst = appendUint(dst, uint64(max(v.Timeout, 0)/time.Microsecond))
	dst = appendBytes(dst, v.Trigger)
	dst = appendBytes(dst, v.ID)
	dst = appendBytes(dst, v.Method)
	dst = appendBytes(dst, v.Path)
	dst = appendBytes(dst, v.RawPath)
	dst = appendBytes(dst, v.Base)
	dst = appendBytes(dst, v.Route)
	dst = appendBytes(dst, v.Query)
	dst = appendBytes(dst, v.ClientIP)
	dst, mark := openBlock(dst)
	if v.Host != "" {
		dst = appendBytes(appendBytes(dst, "Host"), v.Host)
	}
	for name, values := range v.Header {
		for _, value := range values {
			dst = appendBytes(appendBytes(dst, name), value)
		}
	}
	closeBlock(dst, mark)
	dst = appendBytes(dst, v.Params)
	return appendHeadOf(dst, majorBytes, uint64(len(v.Body))), v.Body
}

// Invocation is an Invoke as the worker sees it. All slices alias the payload,
// and the blocks are decoded only when they are ranged over.
type Invocation struct {
	Slot     uint32
	Timeout  time.Duration
	Trigger  []byte
	ID       []byte
	Method   []byte
	Path     []byte
	RawPath  []byte // empty: Path, in which nothing was encoded
	Base     []byte
	Route    []byte
	Query    []byte
	ClientIP []byte
	Header   Pairs
	Params   Pairs
	Body     []byte
}

// Decode reads the payload of an Invoke frame.
func (v *Invocation) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(14)
	v.Slot = uint32(c.uint(1<<32 - 1))
	v.Timeout = time.Duration(c.uint(uint64(maxTimeout/time.Microsecond))) * time.Microsecond
	v.Trigger = c.bytes(64)
	v.ID = c.bytes(maxText)
	v.Method = c.bytes(maxText)
	v.Path = c.bytes(maxText)
	v.RawPath = c.bytes(maxText)
	v.Base = c.bytes(maxText)
	v.Route = c.bytes(maxText)
	v.Query = c.bytes(maxText)
	v.ClientIP = c.bytes(maxText)
	v.Header = Pairs(c.bytes(MaxPairsBytes))
	v.Params = Pairs(c.bytes(MaxPairsBytes))
	v.Body = c.bytes(MaxPayload)
	return c.done("invoke")
}
