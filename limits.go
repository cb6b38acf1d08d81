package picloud

import (
	"fmt"
	"time"
)

// Limits bound what one function may use. A zero field means the default; the
// executor only ever sees limits that WithDefaults has completed.
type Limits struct {
	// Timeout is the wall time of one invocation, queueing excluded. Default 10 s, 10 ms to 15 min.
	Timeout Duration `json:"timeout,omitempty"`
	// Memory is the heap of one executor process of the app, in bytes; the
	// largest of its functions' counts. Default 64 MiB, 16 MiB to 2 GiB.
	Memory Size `json:"memory,omitempty"`
	// Concurrency is how many calls run at once on one node. Default 32, 1 to 1,000.
	Concurrency int `json:"concurrency,omitempty"`
	// Queue is how many further calls wait for a place on one node. Default 128, 1 to 10,000.
	Queue int `json:"queue,omitempty"`
	// RequestBody is the largest request body in bytes. Default 8 MiB, 1 B to 64 MiB.
	RequestBody Size `json:"request_body,omitempty"`
	// ResponseBody is the largest response body in bytes. Default 8 MiB, 1 B to 64 MiB.
	ResponseBody Size `json:"response_body,omitempty"`
	// LogBytes is how much one invocation may log, in bytes. Default 64 KiB, 1 B to 1 MiB.
	LogBytes Size `json:"log_bytes,omitempty"`
	// HostCalls is how many host calls one invocation may make. Default 50, 1 to 10,000.
	HostCalls int `json:"host_calls,omitempty"`
	// OutboundCalls is how many of them may be HTTP requests, redirects
	// included. Default 20, 1 to 1,000.
	OutboundCalls int `json:"outbound_calls,omitempty"`
}

// DefaultLimits returns the limits of a function that sets none.
func DefaultLimits() Limits {
	return Limits{
		Timeout:       Duration(10 * time.Second),
		Memory:        64 << 20,
		Concurrency:   32,
		Queue:         128,
		RequestBody:   8 << 20,
		ResponseBody:  8 << 20,
		LogBytes:      64 << 10,
		HostCalls:     50,
		OutboundCalls: 20,
	}
}

// WithDefaults returns the limits with the built-in default for what is not set.
func (l Limits) WithDefaults() Limits { return l.Or(DefaultLimits()) }

// Or returns the limits with those of d for what is not set. A function's
// limits come before its app's, those before the node's, those before the
// built-in defaults.
func (l Limits) Or(d Limits) Limits {
	l.Timeout = or(l.Timeout, d.Timeout)
	l.Memory = or(l.Memory, d.Memory)
	l.Concurrency = or(l.Concurrency, d.Concurrency)
	l.Queue = or(l.Queue, d.Queue)
	l.RequestBody = or(l.RequestBody, d.RequestBody)
	l.ResponseBody = or(l.ResponseBody, d.ResponseBody)
	l.LogBytes = or(l.LogBytes, d.LogBytes)
	l.HostCalls = or(l.HostCalls, d.HostCalls)
	l.OutboundCalls = or(l.OutboundCalls, d.OutboundCalls)
	return l
}

// Check names every limit that is out of its range.
func (l Limits) Check() error { return checked("check limits", l.fields()) }

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// fields lists the limits that are set to something outside their range; zero
// means the default and is always in range.
func (l Limits) fields() []FieldError {
	var out []FieldError
	check := func(field string, v, low, high int64, lowText, highText string) {
		if v != 0 && (v < low || v > high) {
			out = append(out, FieldError{"limits." + field, fmt.Sprintf("must be between %s and %s", lowText, highText)})
		}
	}
	check("timeout", int64(l.Timeout), int64(10*time.Millisecond), int64(15*time.Minute), "10ms", "15m")
	check("memory", int64(l.Memory), 16<<20, 2<<30, "16MiB", "2GiB")
	check("concurrency", int64(l.Concurrency), 1, 1000, "1", "1000")
	check("queue", int64(l.Queue), 1, 10_000, "1", "10000")
	check("request_body", int64(l.RequestBody), 1, 64<<20, "1B", "64MiB")
	check("response_body", int64(l.ResponseBody), 1, 64<<20, "1B", "64MiB")
	check("log_bytes", int64(l.LogBytes), 1, 1<<20, "1B", "1MiB")
	check("host_calls", int64(l.HostCalls), 1, 10_000, "1", "10000")
	check("outbound_calls", int64(l.OutboundCalls), 1, 1000, "1", "1000")
	return out
}
