package wire

import "time"

// The bounds of a Log.
const (
	MaxLogMessage = 64 << 10
	MaxLogFields  = 64 << 10 // encoded
)

// Level is the severity of a log record.
type Level uint8

// The levels.
const (
	LevelDebug Level = 0
	LevelInfo  Level = 1
	LevelWarn  Level = 2
	LevelError Level = 3
)

// String returns debug, info, warn or error.
func (l Level) String() string { return [...]string{"debug", "info", "warn", "error"}[l&3] }

// Log is one record that a call logged.
type Log struct {
	Time    time.Time // microseconds count
	Level   Level
	Message string // cut to MaxLogMessage
	Fields  []byte // a map with text keys from Marshal, at most MaxLogFields; empty: none
}

func (l *Log) appendPayload(dst []byte) (head, tail []byte) {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, uint64(max(l.Time.UnixMicro(), 0)))
	dst = appendUint(dst, uint64(l.Level))
	dst = appendBytes(dst, cut(l.Message, MaxLogMessage))
	fields := l.Fields
	if len(fields) > MaxLogFields {
		fields = nil
	}
	return appendBytes(dst, fields), nil
}

// Decode reads the payload of a Log frame. Fields aliases it.
func (l *Log) Decode(payload []byte) error {
	c := cursor{b: payload}
	c.record(4)
	l.Time = time.UnixMicro(int64(c.uint(1 << 60))).UTC()
	l.Level = Level(c.uint(uint64(LevelError)))
	l.Message = c.text(MaxLogMessage)
	l.Fields = c.bytes(MaxLogFields)
	return c.done("log")
}
