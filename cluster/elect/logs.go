package elect

import (
	"context"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// silent drops what a library has to say.
var silent = hclog.NewNullLogger()

// raftLog hands what Raft says to the node's log. Raft tells everything twice and at
// high levels: of its warnings and errors only the text and the fields of errors remain,
// as information, because the elector reports what matters itself.
func raftLog(to *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Warn, Output: io.Discard})
	l.RegisterSink(sink{to})
	return l
}

type sink struct{ to *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	if level >= hclog.Warn {
		s.to.Log(context.Background(), slog.LevelDebug, "raft: "+msg, args...)
	}
}

// StandardLogger is for libraries that take one.
func (s sink) StandardLogger() *log.Logger { //nolint:forbidigo // the interface has it
	return slog.NewLogLogger(s.to.Handler(), slog.LevelDebug)
}
