package picloud

import (
	"fmt"
	"strconv"
	"strings"
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
	// Concurrency is how many calls run at once, 1 to 1,000: over all nodes of the cluster
	// where a function or its app sets it. The default, 32, and what a node sets for itself
	// count on each node.
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
	// MaxStale is how old a node's copy of the catalog may be: beyond it the node answers
	// 503 instead of running code that may have been replaced. Default 0, however old; 2 min
	// to 365 days.
	MaxStale Duration `json:"max_stale,omitempty"`
}

// Limit describes one of Limits. LimitTable lists all of them; what checks,
// completes and documents limits goes through it.
type Limit struct {
	Name    string // in JSON: "request_body"
	Default string // as people write it: "8MiB"
	Least   string
	Most    string
	Doc     string // what it bounds
	Beyond  string // what happens beyond it

	initial, least, most int64
	get                  func(*Limits) int64
	set                  func(*Limits, int64)
}

// LimitTable returns every limit, in the order of documentation.
func LimitTable() []Limit { return limitTable }

var limitTable = []Limit{
	span("timeout", func(l *Limits) *Duration { return &l.Timeout }, 10*time.Second, 10*time.Millisecond, 15*time.Minute,
		"wall time of a call, waiting not counted", "504 `PC1204`; the process is killed if it does not stop"),
	size("memory", func(l *Limits) *Size { return &l.Memory }, 64<<20, 16<<20, 2<<30,
		"heap of one process of the app; the largest of its functions' counts", "500 `PC1205`; the app's next call gets a fresh process"),
	count("concurrency", func(l *Limits) *int { return &l.Concurrency }, 32, 1000, "calls at once: over all nodes if a function or app sets it, else on each", "further ones wait"),
	count("queue", func(l *Limits) *int { return &l.Queue }, 128, 10_000, "calls that wait on a node", "429 `PC1210` with `Retry-After`"),
	size("request_body", func(l *Limits) *Size { return &l.RequestBody }, 8<<20, 1, 64<<20, "body of a request", "413 `PC1209`"),
	size("response_body", func(l *Limits) *Size { return &l.ResponseBody }, 8<<20, 1, 64<<20, "body of an answer", "500 `PC1208`"),
	size("log_bytes", func(l *Limits) *Size { return &l.LogBytes }, 64<<10, 1, 1<<20, "what a call may log", "the rest is dropped, and the last record says so"),
	count("host_calls", func(l *Limits) *int { return &l.HostCalls }, 50, 10_000,
		"calls of `kv`, `secrets` and `http` in one call", "error `host_call_limit` in the script"),
	count("outbound_calls", func(l *Limits) *int { return &l.OutboundCalls }, 20, 1000,
		"HTTP requests of one call, redirects included", "error `outbound_call_limit` in the script"),
	span("max_stale", func(l *Limits) *Duration { return &l.MaxStale }, 0, 2*time.Minute, 365*24*time.Hour,
		"age of the node's catalog while it is cut off from the database; 0s: however old", "503 `PC1407` with `Retry-After`"),
}

func span(name string, field func(*Limits) *Duration, initial, least, most time.Duration, doc, beyond string) Limit {
	return Limit{
		Name: name, Doc: doc, Beyond: beyond, initial: int64(initial), least: int64(least), most: int64(most),
		Default: short(initial), Least: short(least), Most: short(most),
		get: func(l *Limits) int64 { return int64(*field(l)) },
		set: func(l *Limits, v int64) { *field(l) = Duration(v) },
	}
}

// short is a duration without the zero units that String adds: "15m".
func short(d time.Duration) string {
	text := d.String()
	for _, unit := range []string{"m", "h"} {
		if rest, zero := strings.CutSuffix(text, unit+map[string]string{"m": "0s", "h": "0m"}[unit]); zero {
			text = rest + unit
		}
	}
	return text
}

func size(name string, field func(*Limits) *Size, initial, least, most Size, doc, beyond string) Limit {
	return Limit{
		Name: name, Doc: doc, Beyond: beyond, initial: int64(initial), least: int64(least), most: int64(most),
		Default: initial.String(), Least: least.String(), Most: most.String(),
		get: func(l *Limits) int64 { return int64(*field(l)) },
		set: func(l *Limits, v int64) { *field(l) = Size(v) },
	}
}

func count(name string, field func(*Limits) *int, initial, most int, doc, beyond string) Limit {
	return Limit{
		Name: name, Doc: doc, Beyond: beyond, initial: int64(initial), least: 1, most: int64(most),
		Default: strconv.Itoa(initial), Least: "1", Most: strconv.Itoa(most),
		get: func(l *Limits) int64 { return int64(*field(l)) },
		set: func(l *Limits, v int64) { *field(l) = int(v) },
	}
}

// DefaultLimits returns the limits of a function that sets none.
func DefaultLimits() Limits {
	var l Limits
	for _, t := range limitTable {
		t.set(&l, t.initial)
	}
	return l
}

// WithDefaults returns the limits with the built-in default for what is not set.
func (l Limits) WithDefaults() Limits { return l.Or(DefaultLimits()) }

// Or returns the limits with those of d for what is not set. A function's
// limits come before its app's, those before the node's, those before the
// built-in defaults.
func (l Limits) Or(d Limits) Limits {
	for _, t := range limitTable {
		if t.get(&l) == 0 {
			t.set(&l, t.get(&d))
		}
	}
	return l
}

// Check returns an error that lists every limit that is out of its range.
func (l Limits) Check() error { return checked("check limits", l.fields()) }

// fields lists the limits that are set to something outside their range; zero
// means the default and is always in range.
func (l Limits) fields() []FieldError {
	var out []FieldError
	for _, t := range limitTable {
		if v := t.get(&l); v != 0 && (v < t.least || v > t.most) {
			out = append(out, FieldError{"limits." + t.Name, fmt.Sprintf("must be between %s and %s", t.Least, t.Most)})
		}
	}
	return out
}
