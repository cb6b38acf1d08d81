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

// Logs reads a followed log, the answer of GetLogs with Follow, record by
// record until the node or the caller's context ends the stream. It yields at
// most one error, as the last pair, and closes the body.
//
//	for record, err := range client.Logs(c.GetLogs(ctx, app, fn, &client.GetLogsParams{Follow: &yes})) {
func Logs(resp *http.Response, err error) iter.Seq2[LogRecord, error] {
	return func(yield func(LogRecord, error) bool) {
		if err := Check(resp, err); err != nil {
			yield(LogRecord{}, err)
			return
		}
		defer resp.Body.Close()
		for event, err := range events(resp.Body) {
			var record LogRecord
			switch {
			case err != nil:
				yield(record, fmt.Errorf("read log stream: %w", err))
				return
			case event.name == "end":
				var p Problem
				if err := json.Unmarshal([]byte(event.data), &p); err != nil {
					yield(record, fmt.Errorf("read end of log stream: %w", err))
					return
				}
				yield(record, p.Err())
				return
			case event.name == "log":
				if err := json.Unmarshal([]byte(event.data), &record); err != nil {
					yield(record, fmt.Errorf("read log record: %w", err))
					return
				}
				if !yield(record, nil) {
					return
				}
			}
		}
	}
}

type event struct{ name, data string }

// events splits an event stream (WHATWG HTML, 9.2) as far as the node uses it:
// comments, and events with a name and data.
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

// Ended reports whether err says that the node ended a log stream on purpose,
// after which following again makes sense.
func Ended(err error) bool { return picloud.CodeOf(err) == picloud.CodeDraining }
