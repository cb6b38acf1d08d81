package picloud

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
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
	Path     string    `json:"path,omitempty"`  // below the function, as it was sent: still encoded
	Status   int       `json:"status"`          // HTTP status of the answer
	Code     Code      `json:"code,omitempty"`  // set when the call failed
	Error    string    `json:"error,omitempty"` // what the function or the executor said, cut to 1 KiB
	Started  time.Time `json:"started"`
	Duration Duration  `json:"duration"`
	Node     string    `json:"node"`
}

// Ended is when the call ended.
func (i *Invocation) Ended() time.Time { return i.Started.Add(time.Duration(i.Duration)) }

// Failed reports whether the call failed: something ended it, or it answered 5xx.
func (i *Invocation) Failed() bool { return i.Code != "" || i.Status >= 500 }

// Level is how severe the end of the call is, one of LogLevels.
func (i *Invocation) Level() string {
	switch {
	case i.Failed():
		return "error"
	case i.Status >= 400:
		return "warn"
	}
	return "info"
}

// LogRecord is one line that a function logged, or that its node put in place of
// lines that are missing.
type LogRecord struct {
	// Seq is its number in the log of its app on its node, from 1. The node sets it.
	Seq        int64          `json:"seq,omitempty"`
	Time       time.Time      `json:"time"`
	Level      string         `json:"level"` // one of LogLevels
	Message    string         `json:"message"`
	Fields     map[string]any `json:"fields,omitempty"`
	Function   string         `json:"function"`
	Version    int            `json:"version"`
	Invocation string         `json:"invocation"`
	Node       string         `json:"node,omitempty"`
	// Missing is how many records of the app this one stands for; -1: an unknown number.
	// Its message says why they are missing. 0: the record is one that a function logged.
	Missing int64 `json:"missing,omitempty"`
}

// LogLevels are the levels of log records, the least severe first.
var LogLevels = []string{"debug", "info", "warn", "error"}

// LogPosition is a place in the log of an app on one node: right after the record with
// this number and this time. The time tells apart two records of the same number, of a
// log that was removed and began anew. The zero value is no position.
type LogPosition struct {
	Seq  int64
	Time time.Time
}

// String returns the position as ParseLogPosition reads it.
func (p LogPosition) String() string {
	return strconv.FormatInt(p.Seq, 10) + "-" + strconv.FormatInt(p.Time.UnixNano(), 10)
}

// ParseLogPosition reads a position: a number, a dash, and nanoseconds since 1970.
func ParseLogPosition(text string) (LogPosition, error) {
	number, nanoseconds, _ := strings.Cut(text, "-")
	seq, err := strconv.ParseInt(number, 10, 64)
	at, errAt := strconv.ParseInt(nanoseconds, 10, 64)
	if err != nil || errAt != nil || seq < 0 || at < 0 {
		return LogPosition{}, fmt.Errorf("%q is not the position of a log record", Shorten(text, 60))
	}
	return LogPosition{seq, time.Unix(0, at).UTC()}, nil
}

// LogLine is a LogRecord as the log holds it. Nobody decodes it on its way to a reader.
type LogLine struct {
	LogPosition        // of the record; a Seq of 0: of a record that is not in the log itself
	JSON        []byte // one LogRecord
	Node        string // whose log it is from; empty: only one is read
}

// ID names the record in a stream: its position, after the name of its node where several
// logs are read.
func (l LogLine) ID() string {
	if l.Node == "" {
		return l.String()
	}
	return l.Node + ":" + l.String()
}

// LogQuery says which records of an app's log on one node somebody reads.
type LogQuery struct {
	App       string
	Functions []string    // none: all functions of the app
	Level     string      // the least severe level; empty: all
	Call      string      // the id of a call, or the end of it; empty: all calls
	Since     time.Time   // zero: from the beginning
	Limit     int         // at most this many of the newest records
	After     LogPosition // zero: the newest Limit records first; else all that come after it
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
