package risor

import (
	"strings"

	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/wire"
)

// maxMessage bounds the message of an error, in bytes.
const maxMessage = 1 << 10

// maxExcerpt bounds the source line of an error, in bytes.
const maxExcerpt = 200

// Error is how compiling or running a script fails.
type Error struct {
	Reason  wire.Reason // never ReasonNone
	Message string      // for people; at most 1 KiB
	Line    int         // from 1; 0: unknown
	Column  int         // from 1, in characters
	Excerpt string      // the source line, at most 200 bytes
	Trace   []string    // "function (line:column)", innermost first; empty: unknown
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func newError(reason wire.Reason, message string) *Error {
	return &Error{Reason: reason, Message: data.Shorten(strings.ToValidUTF8(message, "�"), maxMessage)}
}

// at locates the error in the source.
func (e *Error) at(source string, line, column int) *Error {
	e.Line, e.Column = line, column
	e.Excerpt = data.Shorten(sourceLine(source, line), maxExcerpt)
	return e
}

// sourceLine returns the line with the given number, from 1, without its end.
func sourceLine(source string, number int) string {
	for ; number > 1; number-- {
		i := strings.IndexByte(source, '\n')
		if i < 0 {
			return ""
		}
		source = source[i+1:]
	}
	if number < 1 {
		return ""
	}
	line, _, _ := strings.Cut(source, "\n")
	return strings.ToValidUTF8(strings.TrimSuffix(line, "\r"), "�")
}
