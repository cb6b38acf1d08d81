package data

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/wire"
)

// Texted is implemented by objects of ours that are written as text.
type Texted interface {
	// AsText is the object as text.
	AsText() string
}

// maxPlainText bounds the text of a value that is not data, in bytes.
const maxPlainText = 1 << 10

// PlainText is how a value reads in a log.
func PlainText(v object.Object) string {
	switch v := v.(type) {
	case *object.String:
		return v.Value()
	case *object.Bytes:
		return fmt.Sprintf("bytes(%d)", len(v.Value()))
	case Texted:
		return v.AsText()
	case *object.Closure:
		return v.String()
	case error:
		return v.Error()
	case *object.List, *object.Map, Mapped:
		w := JSONWriter{Limit: wire.MaxLogMessage, lenient: true}
		if w.Write(v) != nil {
			return strings.ToValidUTF8(string(w.Buf), "") + "…"
		}
		return string(w.Buf)
	}
	return Shorten(v.Inspect(), maxPlainText)
}

// Show describes a value in an error: numbers and short strings as they are.
func Show(v object.Object) string {
	switch v := v.(type) {
	case *object.NilType, nil:
		return "null"
	case *object.Int, *object.Float, *object.Bool, *object.Byte:
		return v.Inspect()
	case *object.String:
		return strconv.Quote(Shorten(v.Value(), 80))
	}
	return "a " + string(v.Type())
}

// Shorten cuts s to at most n bytes, not inside a character.
func Shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
