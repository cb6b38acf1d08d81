package risor

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/risor/data"
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

// fill converts what a handler returned; head says that it answers a HEAD request. The
// package comment has the rules.
func (r *Response) fill(v object.Object, head bool, limit int) *Error {
	if limit <= 0 {
		limit = defaultBodySize
	}
	r.Header, r.Body = r.Header[:0], nil
	if a, ok := v.(answered); ok {
		return r.envelope(a.Envelope(), head, limit)
	}
	if m, ok := v.(*object.Map); ok && isEnvelope(m) {
		return r.envelope(m, head, limit)
	}
	if v == object.Nil {
		r.Status = 204
		return nil
	}
	r.Status = 200
	return r.setBody(v, limit, "handle returned", true)
}

// answered is what http.fetch returns: a handler that returns it passes it on.
type answered interface{ Envelope() *object.Map }

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

func (r *Response) envelope(m *object.Map, head bool, limit int) *Error {
	items := m.Value()
	r.Status = 200
	if status, ok := items["status"]; ok {
		n, isInt := status.(*object.Int)
		if !isInt || n.Value() < 200 || n.Value() > 599 {
			return unusable("status must be a number from 200 to 599, not " + data.Show(status))
		}
		r.Status = int(n.Value())
	}
	body, ok := items["body"]
	if !ok {
		body = object.Nil
	}
	headers := headerWriter{to: r, bare: head && isEmpty(body)}
	_, headers.text = body.(*object.String)
	if given, ok := items["headers"]; ok && given != object.Nil {
		if fault := headers.write(given); fault != nil {
			return fault
		}
	}
	bodyless := r.Status == 204 || r.Status == 304
	switch {
	case body == object.Nil, bodyless && isEmpty(body):
		return nil
	case bodyless:
		return unusable(fmt.Sprintf("status %d has no body", r.Status))
	}
	return r.setBody(body, limit, "body is", !headers.typed)
}

// isEmpty reports whether a body has no bytes.
func isEmpty(body object.Object) bool {
	switch body := body.(type) {
	case *object.NilType:
		return true
	case *object.String:
		return body.Value() == ""
	case *object.Bytes:
		return len(body.Value()) == 0
	}
	return false
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
		return unusable(what + " something that is not data: " + e.Reason)
	case errors.As(err, &e):
		return unusable(what + " something that is not data, at " + strings.TrimPrefix(e.Path, ".") + ": " + e.Reason)
	case err != nil || len(w.Buf) > limit:
		return tooLarge(limit)
	}
	return nil
}

func unusable(message string) *Error { return newError(wire.ReasonResponse, message) }

func tooLarge(limit int) *Error {
	return newError(wire.ReasonResponseTooLarge, fmt.Sprintf("the response body has more than %d bytes", limit))
}
