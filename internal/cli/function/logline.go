package function

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

// shortID is how much of the end of a call's id a line shows: ids of one node begin
// alike.
const shortID = 6

// line writes a record as one line, with what tells it apart from those around it: its
// call, and its function when it is not the only one.
func (f *follower) line(r client.LogRecord) string {
	return stamp(r.Time, r.Level) + f.where(r.Node) + f.who(r.Function, r.Version, r.Invocation) + text(r)
}

// callLine writes a call that ended as one line.
func (f *follower) callLine(i client.Invocation) string {
	out := stamp(i.Ended(), "call") + f.where(i.Node) + f.who(i.Function, i.Version, i.ID) +
		fmt.Sprintf("%s %s %d %s", i.Method, i.Path, i.Status, milliseconds(time.Duration(i.Duration)))
	if i.Code != "" {
		out += " " + string(i.Code) + " " + strings.TrimPrefix(i.Error, "call function "+i.App+"/"+i.Function+": ")
	}
	return oneLine(out)
}

// milliseconds writes how long a call took, to compare with others.
func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1fms", ms)
	}
	return fmt.Sprintf("%.0fms", ms)
}

// where names the node of a line, when there are several.
func (f *follower) where(node string) string {
	if !f.several || node == "" {
		return ""
	}
	return oneLine(node + " ")
}

func (f *follower) who(function string, version int, call string) string {
	var out string
	if len(f.functions) != 1 && function != "" {
		out = function + " "
	}
	if version > 0 {
		out += fmt.Sprintf("v%d ", version)
	}
	if call != "" {
		out += "#" + call[max(0, len(call)-shortID):] + " "
	}
	return oneLine(out)
}

// logLine writes a record as one line: time, level, version, message, fields.
func logLine(r client.LogRecord) string {
	var version string
	if r.Version > 0 { // a draft has none
		version = fmt.Sprintf("v%d ", r.Version)
	}
	return stamp(r.Time, r.Level) + version + text(r)
}

func stamp(at time.Time, level string) string {
	return oneLine(fmt.Sprintf("%s %-5s ", at.Local().Format("2006-01-02 15:04:05.000"), level))
}

// text writes message and fields. The place of a runtime error is written so that a
// terminal or an editor can go there: hello.risor:21:38.
func text(r client.LogRecord) string {
	var b strings.Builder
	b.WriteString(r.Message)
	fields := r.Fields
	if at, rest := place(r); at != "" {
		b.WriteString(" at " + at)
		fields = rest
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value, err := output.Compact(fields[name])
		if err != nil {
			continue
		}
		fmt.Fprintf(&b, " %s=%s", name, value)
	}
	return oneLine(b.String())
}

// maxFrames is how many frames of a trace a line shows.
const maxFrames = 3

// frame is how a trace writes a frame: the function and where it was.
var frame = regexp.MustCompile(`^(.*) \((\d+:\d+)\)$`)

// spot is how the executor writes the place of an error: file, line and column.
var spot = regexp.MustCompile(`^([a-z][a-z0-9-]*\.risor:)\d+:\d+$`)

// place reads where a runtime error happened, and returns the fields without that.
func place(r client.LogRecord) (at string, rest map[string]any) {
	at, _ = r.Fields["at"].(string)
	words := spot.FindStringSubmatch(at)
	if r.Level != "error" || words == nil {
		return "", nil
	}
	file := words[1]
	rest = maps.Clone(r.Fields)
	delete(rest, "at")
	trace, _ := rest["trace"].([]any)
	delete(rest, "trace")
	for i, entry := range trace {
		if i == maxFrames {
			at += fmt.Sprintf(", and %d more", len(trace)-i)
			break
		}
		words := frame.FindStringSubmatch(fmt.Sprint(entry))
		switch {
		case words == nil:
		case i == 0:
			at += " in " + words[1]
		default:
			at += ", called at " + file + words[2] + " in " + words[1]
		}
	}
	return at, rest
}

func oneLine(s string) string { return output.Clean(strings.ReplaceAll(s, "\n", `\n`)) }
