package picloud

import (
	"net/http"
	"time"
)

// Trigger says what started an invocation: one of executor/trigger.
type Trigger string

// Invocation is the record of one finished call. Synchronous calls are kept in
// a ring per function on the node that served them, and lost at its restart.
type Invocation struct {
	ID       string    `json:"id"`
	App      string    `json:"app"`
	Function string    `json:"function"`
	Version  int       `json:"version"`
	Trigger  Trigger   `json:"trigger"`
	Method   string    `json:"method,omitempty"`
	Path     string    `json:"path,omitempty"`
	Status   int       `json:"status"`          // HTTP status of the answer
	Code     Code      `json:"code,omitempty"`  // set when the call failed
	Error    string    `json:"error,omitempty"` // what the function or the executor said, cut to 1 KiB
	Started  time.Time `json:"started"`
	Duration Duration  `json:"duration"`
	Node     string    `json:"node"`
}

// LogRecord is one line that a function logged.
type LogRecord struct {
	Time       time.Time      `json:"time"`
	Level      string         `json:"level"` // debug, info, warn or error
	Message    string         `json:"message"`
	Fields     map[string]any `json:"fields,omitempty"`
	Function   string         `json:"function"`
	Version    int            `json:"version"`
	Invocation string         `json:"invocation"`
	Node       string         `json:"node,omitempty"`
}

// Request is an HTTP call as a function sees it.
type Request struct {
	ID       string      `json:"id"`
	Method   string      `json:"method"`
	Path     string      `json:"path"`     // below /fn/{app}/{function}, decoded, always with a leading slash
	RawPath  string      `json:"raw_path"` // Path as it was sent, still encoded; empty: Path has nothing that was encoded
	Query    string      `json:"query"`    // raw, without the question mark
	Header   http.Header `json:"header"`
	Body     []byte      `json:"body"`
	ClientIP string      `json:"client_ip"`
}

// Response is what a function answered.
type Response struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}
