package client

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/picloud/picloud"
)

// maxEvent bounds one event of a log stream, in bytes.
const maxEvent = 4 << 20

// LogEvent is one event of a followed log: a record, or a call that ended.
type LogEvent struct {
	Record   *LogRecord
	Call     *Invocation
	Position string // after the event, for After; empty: as before
}

// Logs reads the records of a followed log, as Follow does.
//
//	for record, err := range client.Logs(c.GetLogs(ctx, app, fn, &client.GetLogsParams{Follow: &yes})) {
func Logs(resp *http.Response, err error) iter.Seq2[LogRecord, error] {
	return func(yield func(LogRecord, error) bool) {
		for e, err := range Follow(resp, err) {
			if err != nil {
				yield(LogRecord{}, err)
				return
			}
			if e.Record != nil && !yield(*e.Record, nil) {
				return
			}
		}
	}
}

// Follow reads a followed log, the answer of GetLogs or GetAppLogs with Follow, event
// by event until the node or the caller's context ends the stream. It yields at
// most one error, as the last pair, and closes the body.
func Follow(resp *http.Response, err error) iter.Seq2[LogEvent, error] {
	return func(yield func(LogEvent, error) bool) {
		if err := Check(resp, err); err != nil {
			yield(LogEvent{}, err)
			return
		}
		defer resp.Body.Close()
		for event, err := range events(resp.Body) {
			if err != nil {
				yield(LogEvent{}, fmt.Errorf("read log stream: %w", err))
				return
			}
			out, known, err := event.decode()
			if err != nil {
				yield(LogEvent{}, err)
				return
			}
			if known && !yield(out, nil) {
				return
			}
		}
	}
}

// decode returns what an event says. It reports false for one that it does not know.
func (e event) decode() (out LogEvent, known bool, err error) {
	out.Position = e.id
	what := "log record"
	switch e.name {
	case "end":
		var p Problem
		if err := json.Unmarshal([]byte(e.data), &p); err != nil {
			return out, false, fmt.Errorf("read end of log stream: %w", err)
		}
		return out, false, p.Err()
	case "log":
		out.Record = new(LogRecord)
		err = json.Unmarshal([]byte(e.data), out.Record)
	case "call":
		what, out.Call = "call", new(Invocation)
		err = json.Unmarshal([]byte(e.data), out.Call)
	}
	if err != nil {
		return out, false, fmt.Errorf("read %s: %w", what, err)
	}
	return out, out != LogEvent{}, nil
}

type event struct{ name, id, data string }

// events splits an event stream (WHATWG HTML, 9.2) as far as the node uses it:
// comments, and events with a name, an id and data.
func events(r io.Reader) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 16<<10), maxEvent)
		var e event
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case lines.Text() == "":
				if e != (event{}) && !yield(e, nil) {
					return
				}
				e = event{}
			case field == "event":
				e.name = value
			case field == "id":
				e.id = value
			case field == "data" && e.data == "":
				e.data = value
			case field == "data" && len(e.data)+len(value) < maxEvent:
				e.data += "\n" + value
			}
		}
		if err := lines.Err(); err != nil {
			yield(event{}, err)
		}
	}
}

// After adds the Position of an event to those of the events before it, for After of a
// later stream. In a cluster of several nodes a position is of one node, NODE:POSITION.
func After(before, position string) string {
	node, _, found := strings.Cut(position, ":")
	if position == "" {
		return before
	}
	if !found {
		return position
	}
	all := []string{position}
	for part := range strings.SplitSeq(before, ",") {
		if strings.Contains(part, ":") && !strings.HasPrefix(part, node+":") {
			all = append(all, part)
		}
	}
	return strings.Join(all, ",")
}

// Ended reports whether err says that the node ended a log stream on purpose,
// after which following again makes sense.
func Ended(err error) bool { return picloud.CodeOf(err) == picloud.CodeDraining }
