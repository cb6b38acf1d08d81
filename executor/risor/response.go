package risor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/data"
	"github.com/picloud/picloud/executor/risor/module"
	"github.com/picloud/picloud/executor/wire"
)

// defaultBodySize bounds a body whose call sets no bound.
const defaultBodySize = 64 << 20

// The types of bodies that are not given one.
const (
	typeText  = "text/plain; charset=utf-8"
	typeJSON  = "application/json"
	typeBytes = "application/octet-stream"
)

// Response is what a handler returned, as HTTP.
type Response struct {
	Status int
	Header wire.Pairs
	Body   []byte // may alias the request

	buf  []byte   // memory for Body
	keys []string // memory for sorting
}

// fill converts what a handler returned. The package comment has the rules.
func (r *Response) fill(v object.Object, limit int) *Error {
	if limit <= 0 {
		limit = defaultBodySize
	}
	r.Header, r.Body = r.Header[:0], nil
	if m, ok := v.(*object.Map); ok && isEnvelope(m) {
		return r.envelope(m, limit)
	}
	if v == object.Nil {
		r.Status = 204
		return nil
	}
	r.Status = 200
	return r.setBody(v, limit, "handle returned", true)
}

// isEnvelope tells an envelope from data.
func isEnvelope(m *object.Map) bool {
	items := m.Value()
	if len(items) == 0 || len(items) > 3 {
		return false
	}
	for key := range items {
		if key != "status" && key != "headers" && key != "body" {
			return false
		}
	}
	if _, hasBody := items["body"]; hasBody {
		return true
	}
	switch items["status"].(type) {
	case *object.Int, *object.Float, *object.Byte:
		return true
	}
	return false
}

func (r *Response) envelope(m *object.Map, limit int) *Error {
	items := m.Value()
	r.Status = 200
	if status, ok := items["status"]; ok {
		n, isInt := status.(*object.Int)
		if !isInt || n.Value() < 200 || n.Value() > 599 {
			return unusable("status is a number from 200 to 599, not " + data.Show(status))
		}
		r.Status = int(n.Value())
	}
	typed := false
	if headers, ok := items["headers"]; ok && headers != object.Nil {
		var fault *Error
		if typed, fault = r.headers(headers); fault != nil {
			return fault
		}
	}
	body, ok := items["body"]
	if !ok || body == object.Nil {
		return nil
	}
	if fault := r.setBody(body, limit, "body is", !typed); fault != nil {
		return fault
	}
	if (r.Status == 204 || r.Status == 304) && len(r.Body) > 0 {
		return unusable(fmt.Sprintf("status %d has no body", r.Status))
	}
	return nil
}

// setBody converts a body, and adds its content type when typed.
func (r *Response) setBody(v object.Object, limit int, what string, typed bool) *Error {
	contentType := typeJSON
	switch v := v.(type) {
	case *object.String:
		contentType = typeText
		if len(v.Value()) > limit {
			return tooLarge(limit)
		}
		if !utf8.ValidString(v.Value()) {
			return unusable(what + " a string that is not UTF-8; return bytes instead")
		}
		r.buf = append(r.buf[:0], v.Value()...)
		r.Body = r.buf
	case *object.Bytes:
		contentType = typeBytes
		if len(v.Value()) > limit {
			return tooLarge(limit)
		}
		r.Body = v.Value()
	default:
		if fault := r.writeJSON(v, limit, what); fault != nil {
			return fault
		}
	}
	if typed {
		r.Header = r.Header.AppendPair("content-type", contentType)
	}
	return nil
}

func (r *Response) writeJSON(v object.Object, limit int, what string) *Error {
	w := data.JSONWriter{Buf: r.buf[:0], Limit: limit, Keys: r.keys[:0]}
	err := w.Write(v)
	r.buf, r.Body = w.Buf, w.Buf
	r.keys = w.Keys[:cap(w.Keys)]
	clear(r.keys)
	var e *data.JSONError
	switch {
	case errors.As(err, &e) && e.Path == "":
		return unusable(what + " no data: " + e.Reason)
	case errors.As(err, &e):
		return unusable(what + " no data, at " + strings.TrimPrefix(e.Path, ".") + ": " + e.Reason)
	case err != nil || len(w.Buf) > limit:
		return tooLarge(limit)
	}
	return nil
}

// headers adds the headers of an envelope. It reports whether content-type is
// among them.
func (r *Response) headers(v object.Object) (typed bool, fault *Error) {
	if f, ok := v.(data.Mapped); ok {
		v = f.AsMap()
	}
	m, ok := v.(*object.Map)
	if !ok {
		return false, unusable("headers is a map, not " + data.Show(v))
	}
	count := 0
	for _, name := range m.SortedKeys() {
		lower := strings.ToLower(name)
		if reason := badHeader(lower); reason != "" {
			return false, unusable(fmt.Sprintf("header %s %s", strconv.Quote(data.Shorten(name, 80)), reason))
		}
		values := []object.Object{m.Get(name)}
		if list, ok := values[0].(*object.List); ok {
			values = list.Value()
		}
		for _, value := range values {
			text, ok := module.HeaderValue(value)
			if !ok {
				return false, unusable(fmt.Sprintf("header %q is a string without line breaks, a number, or a list of them, not %s", lower, data.Show(value)))
			}
			r.Header = r.Header.AppendPair(lower, text)
			if count++; count > wire.MaxHeaders || len(r.Header) > wire.MaxHeaderBytes {
				return false, unusable(fmt.Sprintf("more than %d headers, or %d bytes of them", wire.MaxHeaders, wire.MaxHeaderBytes))
			}
			typed = typed || lower == "content-type"
		}
	}
	return typed, nil
}

// badHeader says what is wrong with a header's name, if anything is.
func badHeader(name string) string {
	switch name {
	case "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return "is set by the server, not by functions"
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

func unusable(message string) *Error { return newError(wire.ReasonResponse, message) }

func tooLarge(limit int) *Error {
	return newError(wire.ReasonResponseTooLarge, fmt.Sprintf("the response body has more than %d bytes", limit))
}
