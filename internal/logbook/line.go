package logbook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

const (
	// maxLine bounds a line, in bytes: message and fields of a record. Each reader holds
	// one line at least.
	maxLine = 256 << 10
	// shortMessage is how much is kept, in bytes, of a message that JSON writes with so
	// many escapes that the line is over maxLine. One byte becomes six at most.
	shortMessage = 32 << 10
)

// shortestID is the length of the shortest end of a call's id that stands for the id.
const shortestID = 4

// numberSize is more than a line's number takes, in bytes.
const numberSize = 32

// encode writes a record as a line. Fields that JSON cannot hold are left out. So is
// what makes the line longer than maxLine.
func encode(record *picloud.LogRecord) []byte {
	line, err := json.Marshal(record)
	if err != nil || len(line) > maxLine-numberSize {
		bare := *record
		bare.Fields = map[string]any{"fields": "left out: JSON cannot hold them"}
		if err == nil {
			bare.Fields["fields"] = "left out: the record is over " + picloud.Size(maxLine).String() + " as JSON"
		}
		if line, err = json.Marshal(bare); err == nil && len(line) > maxLine-numberSize {
			bare.Message = picloud.Shorten(bare.Message, shortMessage)
			line, err = json.Marshal(bare)
		}
		if err != nil {
			line = []byte(`{"level":"error","message":"a record that JSON cannot hold"}`)
		}
	}
	return append(line, '\n')
}

// numbered appends a line with the number that it has in the file.
func numbered(to []byte, line []byte, seq int64) []byte {
	to = append(to, `{"seq":`...)
	to = strconv.AppendInt(to, seq, 10)
	to = append(to, ',')
	return append(to, line[1:]...)
}

// seqOf returns the number of a line; 0: it has none.
func seqOf(line []byte) (seq int64) {
	digits, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	if !ok {
		return 0
	}
	for _, c := range digits {
		if c < '0' || c > '9' || seq > 1<<58 {
			return seq
		}
		seq = 10*seq + int64(c-'0')
	}
	return 0 // torn
}

// head is what readers look at in a line. The rest goes to them as it is.
type head struct {
	Seq        int64     `json:"seq"`
	Time       time.Time `json:"time"`
	Level      string    `json:"level"`
	Function   string    `json:"function"`
	Invocation string    `json:"invocation"`
	Missing    int64     `json:"missing"`
}

// headOf reads a line. It reports false for one that a crash tore.
func headOf(line []byte) (h head, ok bool) {
	return h, json.Unmarshal(line, &h) == nil
}

func (h *head) position() picloud.LogPosition { return picloud.LogPosition{Seq: h.Seq, Time: h.Time} }

// wants reports whether a query asks for the line with this head. Whoever reads the log
// of some functions sees its gaps too, because nobody knows whose records are missing.
func wants(q *picloud.LogQuery, h *head) bool {
	if q.Call != "" && h.Invocation != q.Call && (len(q.Call) < shortestID || !strings.HasSuffix(h.Invocation, q.Call)) {
		return false
	}
	if h.Missing != 0 {
		return true
	}
	if len(q.Functions) > 0 && !slices.Contains(q.Functions, h.Function) {
		return false
	}
	return q.Level == "" || slices.Index(picloud.LogLevels, h.Level) >= slices.Index(picloud.LogLevels, q.Level)
}

// gap is the record that stands for others which are not there; missing is -1 when
// nobody knows how many.
func (l *Book) gap(missing int64, text string) *picloud.LogRecord {
	return &picloud.LogRecord{Time: time.Now().UTC(), Level: "warn", Message: text, Node: l.node, Missing: missing}
}

// droppedHere is the gap that the writer leaves in the file.
func (l *Book) droppedHere(e entry) []byte {
	return encode(l.gap(e.missing, fmt.Sprintf("%s missing here: %s", records(e.missing), e.why)))
}

// rotatedAway is the gap that a reader sees who was too slow.
func (l *Book) rotatedAway(missing int64) picloud.LogLine {
	text := fmt.Sprintf("%s missing here: the log keeps %s for each app, and they were older", records(missing), picloud.Size(2*maxLogFile))
	if missing < 0 {
		text = "records may be missing here: the log was cut, or began anew"
	}
	return l.aside(l.gap(missing, text))
}

// aside is a record that is not in the log itself.
func (l *Book) aside(r *picloud.LogRecord) picloud.LogLine {
	return picloud.LogLine{LogPosition: picloud.LogPosition{Time: r.Time}, JSON: bytes.TrimSuffix(encode(r), []byte("\n"))}
}

func records(n int64) string {
	if n == 1 {
		return "1 record is"
	}
	return strconv.FormatInt(n, 10) + " records are"
}
