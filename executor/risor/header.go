package risor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// headerWriter adds the headers of an envelope to a response.
type headerWriter struct {
	to    *Response
	text  bool // the body is a string, so that the charset of a text type is known
	bare  bool // the answer is one to HEAD and has no body: it may state a length
	typed bool // content-type is among the headers
	count int
}

// write adds the headers that the script gave: a map of its own, or the headers of
// another message, which it passes on.
func (w *headerWriter) write(v object.Object) *Error {
	if f, ok := v.(*data.Fields); ok {
		return w.forward(f)
	}
	if f, ok := v.(data.Mapped); ok {
		v = f.AsMap()
	}
	m, ok := v.(*object.Map)
	if !ok {
		return unusable("headers must be a map, not " + data.Show(v))
	}
	for _, name := range m.SortedKeys() {
		if fault := w.named(name, m.Get(name)); fault != nil {
			return fault
		}
	}
	return nil
}

// forward passes the headers of another message on, each line apart. What belongs to
// the connection that they came over stays behind.
func (w *headerWriter) forward(f *data.Fields) *Error {
	for name, value := range f.Forward() {
		if reason := badHeader(name); reason != "" {
			return unusable(fmt.Sprintf("header %s %s", strconv.Quote(data.Shorten(name, 80)), reason))
		}
		if fault := w.add(name, value); fault != nil {
			return fault
		}
	}
	if n := f.ContentLength(); w.bare && isLength(n) {
		return w.add("content-length", n)
	}
	return nil
}

// named adds a header of the script's own, with all of its values.
func (w *headerWriter) named(name string, v object.Object) *Error {
	lower := strings.ToLower(name)
	reason := badHeader(lower)
	if lower == "content-length" && w.bare {
		reason = ""
	}
	if reason != "" {
		return unusable(fmt.Sprintf("header %s %s", strconv.Quote(data.Shorten(name, 80)), reason))
	}
	values := []object.Object{v}
	if list, ok := v.(*object.List); ok {
		values = list.Value()
	}
	for _, value := range values {
		text, ok := module.HeaderValue(value)
		if !ok {
			return unusable(fmt.Sprintf("header %q must be a string without line breaks, a number, or a list of them, not %s", lower, data.Show(value)))
		}
		switch {
		case lower == "content-length" && !isLength(text):
			return unusable(fmt.Sprintf("header \"content-length\" must be a number of bytes, not %s", data.Show(value)))
		case lower == "content-type" && w.typed:
			return unusable(`header "content-type" has one value, and the answer gives more`)
		}
		if fault := w.add(lower, text); fault != nil {
			return fault
		}
	}
	return nil
}

func (w *headerWriter) add(lower, value string) *Error {
	if lower == "content-type" {
		w.typed = true
		if w.text {
			value = withCharset(value)
		}
	}
	r := w.to
	r.Header = r.Header.AppendPair(lower, value)
	if w.count++; w.count > wire.MaxHeaders || len(r.Header) > wire.MaxHeaderBytes {
		return unusable(fmt.Sprintf("more than %d headers, or %d bytes of them", wire.MaxHeaders, wire.MaxHeaderBytes))
	}
	return nil
}

// badHeader says what is wrong with a header's name, in lower case; empty: nothing.
func badHeader(name string) string {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return "is set by the server, not by functions"
	case "content-length":
		return "is set by the server, not by functions; only an answer to HEAD without a body may state it"
	case "":
		return "has no name"
	}
	for i := range len(name) {
		c := name[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return "is not a valid name"
		}
	}
	return ""
}

// isLength reports whether s is a number of bytes, as Content-Length has it.
func isLength(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 18
}

// withCharset adds the charset to a content type of text that names none. Strings
// are UTF-8; a browser that is not told so guesses. JSON types but application/json
// are left alone: some of them, such as that of JSON:API, allow no parameters.
func withCharset(contentType string) string {
	media, parameters, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch {
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "+xml"):
	case media == "application/json", media == "application/javascript", media == "application/xml":
	default:
		return contentType
	}
	if strings.Contains(strings.ToLower(parameters), "charset") {
		return contentType
	}
	return strings.TrimRight(contentType, "; \t") + "; charset=utf-8"
}
