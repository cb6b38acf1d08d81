// Package problem writes errors to HTTP callers as RFC 9457 problems. The control
// API and the function handler share it, so that errors of both look the same.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud"
)

// ContentType of every problem.
const ContentType = "application/problem+json"

// DefaultRetryAfter is the advice of answers with status 429 and 503 whose
// error gives none.
const DefaultRetryAfter = 2 * time.Second

// Problem is the body of an error answer.
type Problem struct {
	Type      string               `json:"type"`  // "/problems/" and the slug of the catalogue
	Title     string               `json:"title"` // constant per code
	Status    int                  `json:"status"`
	Code      picloud.Code         `json:"code"`
	Detail    string               `json:"detail,omitempty"` // what was attempted, on what, and what went wrong
	Hint      string               `json:"hint,omitempty"`   // what to do next
	RequestID string               `json:"request_id,omitempty"`
	Errors    []picloud.FieldError `json:"errors,omitempty"`

	// Where a script is wrong.
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message,omitempty"`
	Excerpt string `json:"excerpt,omitempty"`
}

// Of describes err. It leaves out the cause of internal errors and of outages,
// because the cause names hosts, files and accounts.
func Of(err error, requestID string) Problem {
	e := asError(err)
	entry := e.Code.Entry()
	p := Problem{
		Type:      "/problems/" + entry.Type,
		Title:     entry.Title,
		Status:    entry.Status,
		Code:      entry.Code,
		Detail:    detail(e, entry),
		Hint:      e.Hint,
		RequestID: requestID,
		Errors:    e.Fields,
	}
	if s := e.Script; s != nil {
		p.Line, p.Column, p.Message, p.Excerpt = s.Line, s.Column, s.Message, s.Excerpt
	}
	return p
}

// asError finds the *picloud.Error in err's chain. Any other error is internal,
// unless it says that the caller disconnected.
func asError(err error) *picloud.Error {
	if e, ok := errors.AsType[*picloud.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return &picloud.Error{Code: picloud.CodeCancelled}
	}
	return &picloud.Error{Code: picloud.CodeInternal}
}

// detail is "attempt resource: what went wrong", as far as the caller may know.
func detail(e *picloud.Error, entry picloud.Entry) string {
	attempt := strings.TrimSpace(e.Op + " " + e.Resource)
	reason := e.Detail
	switch {
	case errors.Is(entry.Kind, picloud.ErrInternal):
		reason = "the node's log has the cause under the request id"
	case reason == "" && e.Script != nil:
		reason = e.Script.Message
	case reason == "" && e.Err != nil && !errors.Is(entry.Kind, picloud.ErrUnavailable):
		reason = e.Err.Error()
	}
	if attempt == "" || reason == "" {
		return attempt + reason
	}
	return attempt + ": " + reason
}

// Write answers with err as a problem: status, Retry-After where trying again
// makes sense, and the body. The caller sets Allow and WWW-Authenticate first.
func Write(w http.ResponseWriter, err error, requestID string) {
	write(w, Of(err, requestID), asError(err).RetryAfter)
}

// WriteFunction answers a call of a function with err. X-PiCloud-Error says whose
// failure it is: "function" or "platform". The caller sees that a function raised
// an error or crashed. The message and the source are only in the function's log,
// under the request id.
func WriteFunction(w http.ResponseWriter, err error, requestID string) {
	e := asError(err)
	p := Of(err, requestID)
	p.Line, p.Column, p.Message, p.Excerpt = 0, 0, "", ""
	switch p.Code {
	case picloud.CodeFunctionError:
		p.Detail = strings.TrimSpace(e.Resource + " raised an error; its log has it under the request id")
	case picloud.CodeFunctionCrash:
		p.Detail = strings.TrimSpace(e.Resource + " lost its executor; the node's log has the cause under the request id")
	}
	w.Header().Set("X-PiCloud-Error", origin(p.Code))
	write(w, p, e.RetryAfter)
}

func origin(c picloud.Code) string {
	if errors.Is(c.Entry().Kind, picloud.ErrFunction) || c == picloud.CodeFunctionTimeout {
		return "function"
	}
	return "platform"
}

func write(w http.ResponseWriter, p Problem, retry time.Duration) {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always marshal
		body = []byte(`{"title":"Internal error","status":500,"code":"PC1300"}`)
	}
	if retry <= 0 && (p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests) {
		retry = DefaultRetryAfter
	}
	h := w.Header()
	if retry > 0 {
		seconds := (retry + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	h.Set("Content-Type", ContentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // a failed write means that the caller disconnected
}
