package executor

import (
	"fmt"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor/wire"
)

// LogSink takes what functions log. It must not block: a worker's answers wait
// behind it.
type LogSink interface {
	// Log takes a record of a function of the app.
	Log(app string, rec picloud.LogRecord)
}

// logSlack is by how much a call may exceed its log limit before its worker counts as
// hostile: an honest worker keeps the limit itself.
const logSlack = 1 << 20

// logLast is what a call may log beyond its limit: that it reached the limit, how many
// records it lost, and why it failed.
const logLast = 4 << 10

// logged passes a record to the sink. App, function, version and invocation come from
// the call, never from the frame.
func (w *worker) logged(h wire.Header, payload []byte) error {
	var line wire.Log
	if err := line.Decode(payload); err != nil {
		return err
	}
	w.mu.Lock()
	fl := w.find(h.ID)
	w.mu.Unlock()
	if fl == nil {
		return foreign(h, "no such call")
	}
	limit := int(fl.function.program.Limits.LogBytes) + logLast
	before := fl.logged
	fl.logged += max(len(line.Message)+len(line.Fields), 1)
	if fl.logged > 2*limit+logSlack {
		return foreign(h, "a flood of logs")
	}
	if w.sink == nil {
		return nil
	}
	rec := picloud.LogRecord{
		Time: time.Now().UTC(), Level: line.Level.String(), Message: strings.ToValidUTF8(line.Message, "\uFFFD"),
		Function: fl.function.program.Function, Version: fl.function.program.Version, Invocation: fl.invoke.ID,
	}
	switch {
	case before > limit:
		return nil
	case fl.logged > limit:
		rec.Level = wire.LevelWarn.String()
		rec.Message = fmt.Sprintf("log limit of %s reached, the rest of this call is dropped", fl.function.program.Limits.LogBytes)
		fl.logged = max(fl.logged, limit+1)
	case len(line.Fields) > 0:
		fields, err := wire.Unmarshal(line.Fields)
		if err != nil {
			return err
		}
		var ok bool
		if rec.Fields, ok = fields.(map[string]any); !ok {
			return foreign(h, "fields are not a map")
		}
	}
	w.sink.Log(w.app, rec)
	return nil
}
