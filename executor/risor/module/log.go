package module

import (
	"fmt"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/wire"
	"github.com/picloud/picloud/internal/value"
)

func logModule() Module {
	m := Module{Name: "log", Doc: "Records for `picloud logs`. Logging never fails and never waits; what is over the function's `log_bytes` is dropped, and a record says how much ([more](#logs-and-calls))."}
	for _, l := range []struct {
		level wire.Level
		doc   string
	}{
		{wire.LevelDebug, "Log details for whoever looks for a fault."},
		{wire.LevelInfo, "Log what happened."},
		{wire.LevelWarn, "Log what is odd but was dealt with."},
		{wire.LevelError, "Log what went wrong."},
	} {
		m.Functions = append(m.Functions, Function{
			Name:    l.level.String(),
			Args:    []Arg{{Name: "message", Type: "any"}, {Name: "fields", Type: "map", Optional: true}},
			Returns: "null",
			Doc:     l.doc + " Fields are data to search for; what is not data becomes text.",
			Example: fmt.Sprintf(`log.%s("order taken", {order: 17, items: ["tea", "milk"]})`, l.level),
			call: func(a *arguments) (object.Object, error) {
				var fields []byte
				if len(a.values) == 2 {
					fields = logFields(a.values[1])
				}
				AccessOf(a.ctx).Host.Log(l.level, logText(a.values[0]), fields)
				return object.Nil, nil
			},
		})
	}
	return m
}

// logText is the message of a record.
func logText(v object.Object) string {
	return data.Shorten(strings.ToValidUTF8(data.PlainText(v), "�"), wire.MaxLogMessage)
}

// logFields encodes the fields of a record. A value that is not a map goes under "value".
func logFields(v object.Object) []byte {
	e := &data.CBORWriter{Limit: wire.MaxLogFields}
	switch v.(type) {
	case *object.NilType:
		return nil
	case *object.Map:
		e.Write(v)
	default:
		e.Buf = value.AppendMap(e.Buf, 1)
		e.Text("value")
		e.Write(v)
	}
	if e.Full {
		e = &data.CBORWriter{Limit: wire.MaxLogFields}
		e.Buf = value.AppendMap(e.Buf, 1)
		e.Text("fields")
		e.Text(fmt.Sprintf("dropped: over %d bytes", wire.MaxLogFields))
	}
	return e.Buf
}
