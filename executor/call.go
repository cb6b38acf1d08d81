package executor

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/executor/wire"
)

// Call is one invocation of a function. The executor reads it until Invoke returns,
// and keeps no reference to it.
type Call struct {
	ID       string // for people: logs, records
	Method   string
	Path     string // below the function, decoded, with a leading slash
	RawPath  string // Path as the client sent it, still encoded; empty: Path has nothing that was encoded
	Base     string // where the function is, as the client wrote it, without a slash at the end
	Route    string // the pattern of the function's settings that fits; empty: the settings have none
	Params   Pairs  // the named parts of the path, decoded, in the order of Route
	RawQuery string // without the question mark
	Host     string // the Host header, which net/http keeps apart
	Header   http.Header
	Body     []byte
	ClientIP string
	Trigger  picloud.Trigger // default TriggerHTTP
	Deadline time.Time       // zero: only the function's timeout counts
}

// Pairs are names and values in their order, in one piece of memory. AppendPair adds one.
type Pairs = wire.Pairs

// Result is what a function answered. Release gives its memory back; after
// that only the strings of Header may still be used.
type Result struct {
	Status int // 200 to 599
	Header []HeaderField
	Body   []byte

	buf   *wire.Buffer
	space [8]HeaderField
}

// HeaderField is a line of an answer's header. The name is a valid token, in the
// case the function used, and the value has no control characters.
type HeaderField struct{ Name, Value string }

var results = sync.Pool{New: func() any { return new(Result) }}

// Release gives the memory of the result back. A nil result is fine.
func (r *Result) Release() {
	if r == nil {
		return
	}
	r.buf.Release()
	clear(r.space[:])
	r.buf, r.Body, r.Header = nil, nil, nil
	results.Put(r)
}

// errUnusable is the error of an answer that must not be sent to clients.
var errUnusable = errors.New("unusable answer")

// newResult decodes the payload in buf, which it owns from now on. The error is
// wire.ErrMalformed when the worker broke the protocol.
func newResult(buf *wire.Buffer) (*Result, error) {
	var in wire.Result
	err := in.Decode(buf.B)
	if err == nil {
		err = in.Header.Check()
	}
	if err != nil {
		buf.Release()
		return nil, err
	}
	r := results.Get().(*Result)
	r.Status, r.Body, r.buf = in.Status, in.Body, buf
	r.Header = r.space[:0]
	ok := r.Status >= 200 && r.Status <= 599 && len(in.Header) <= wire.MaxHeaderBytes
	for name, value := range in.Header.Strings() {
		r.Header = append(r.Header, HeaderField{name, value})
		ok = ok && validName(name) && validValue(value)
	}
	if !ok || len(r.Header) > wire.MaxHeaders {
		r.Release()
		return nil, errUnusable
	}
	return r, nil
}

// nameByte holds for the bytes that may be in a header's name (RFC 9110, token).
var nameByte = func() (t [256]bool) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			t[c] = true
		}
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] = true
	}
	return t
}()

func validName(s string) bool {
	for i := range len(s) {
		if !nameByte[s[i]] {
			return false
		}
	}
	return s != ""
}

func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// flight is a call on its way through a worker. It is reference-counted with two
// owners, the caller that waits and the worker's table; the last one recycles it.
type flight struct {
	owners atomic.Int32
	done   chan struct{} // takes one value when the answer is there

	// Set before the frame is sent, constant afterwards.
	id       uint64
	function *Function
	invoke   wire.Invoke
	timeout  int64

	// Guarded by the worker's mu until done has its value.
	deadline  int64
	due       int64 // when the worker's scan takes its next step with the flight
	loading   bool  // the deadline starts when the program is loaded
	abandoned bool  // the caller no longer waits; it counts in worker.abandoned
	stuck     bool  // it counts in worker.stuck
	overdue   bool  // it counts in worker.overdue
	answer    wire.Type
	payload   *wire.Buffer // of the answer
	err       error        // instead of an answer

	// Host calls, guarded by mu too.
	hostCalls int       // so far
	asking    int       // under way; while it is not 0 the call takes no processor
	outbound  *outbound // nil before the first outbound call
	hostCtx   context.Context
	cancel    func() // ends hostCtx; nil before the first host call

	logged int // bytes; for the worker's reading goroutine only
}

var flights = sync.Pool{New: func() any { return &flight{done: make(chan struct{}, 1)} }}

func newFlight(f *Function, c *Call) *flight {
	fl := flights.Get().(*flight)
	fl.owners.Store(2)
	fl.function = f
	fl.invoke = wire.Invoke{
		Trigger: string(c.Trigger), ID: c.ID, Method: c.Method, Path: c.Path, RawPath: c.RawPath, Base: c.Base, Route: c.Route, Query: c.RawQuery,
		ClientIP: c.ClientIP, Host: c.Host, Header: c.Header, Params: c.Params, Body: c.Body,
	}
	if c.Trigger == "" {
		fl.invoke.Trigger = trigger.HTTP
	}
	return fl
}

// drop gives up one ownership.
func (fl *flight) drop() {
	if fl.owners.Add(-1) > 0 {
		return
	}
	done := fl.done
	*fl = flight{done: done}
	flights.Put(fl)
}
