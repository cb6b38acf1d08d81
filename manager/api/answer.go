package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/problem"
)

// answer is a success. Its body is written as JSON, unless it is a sender or
// nothing.
type answer[T any] struct {
	status int
	header []header
	body   T
}

type header struct{ name, value string }

// erased is an answer without the type of its body, for what all operations share.
type erased = answer[any]

func (a answer[T]) erase() erased { return erased{a.status, a.header, a.body} }

// sender is a body that writes itself, with its content type.
type sender interface {
	send(w http.ResponseWriter) error
}

// nothing is the body of a 204.
type nothing struct{}

func ok[T any](body T) answer[T] { return answer[T]{status: http.StatusOK, body: body} }

func created[T any](location string, body T) answer[T] {
	return answer[T]{status: http.StatusCreated, body: body}.with("Location", location)
}

// accepted answers what is committed but not yet served by all who were waited for.
func accepted[T any](body T) answer[T] { return answer[T]{status: http.StatusAccepted, body: body} }

func done() answer[nothing] { return answer[nothing]{status: http.StatusNoContent} }

// with returns the answer with one more header.
func (a answer[T]) with(name, value string) answer[T] {
	a.header = append(slices.Clip(a.header), header{name, value})
	return a
}

// write sends the answer, if the contract has it.
func write(w http.ResponseWriter, a erased, s successes) error {
	names, known := s[a.status]
	if !known || len(names) != len(a.header) {
		return fmt.Errorf("the contract has no answer %d with the headers %v", a.status, a.header)
	}
	for _, h := range a.header {
		if !slices.Contains(names, h.name) {
			return fmt.Errorf("the contract has no header %s in the answer %d", h.name, a.status)
		}
		w.Header().Set(h.name, h.value)
	}
	switch body := a.body.(type) {
	case nothing:
		w.WriteHeader(a.status)
		return nil
	case sender:
		return body.send(w)
	}
	return sendJSON(w, a.status, a.body)
}

func sendJSON(w http.ResponseWriter, status int, body any) error {
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(body); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err := text.WriteTo(w)
	return err
}

// fail answers with err as a problem, and logs what the node's owner has to
// know and callers must not.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	c := callOf(r.Context())
	code := picloud.CodeOf(err)
	level := slog.LevelDebug
	switch kind := code.Entry().Kind; {
	case c.answered || errors.Is(err, context.Canceled):
		// The caller went away.
	case r.URL.Path == "/readyz":
		// Probes ask again and again; what they learn is logged where it happens.
	case errors.Is(kind, picloud.ErrInternal):
		level = slog.LevelError
	case errors.Is(kind, picloud.ErrUnavailable):
		level = slog.LevelWarn
	}
	s.log.Log(r.Context(), level, "call failed", slog.Any("error", err), slog.String("code", string(code)),
		slog.String("request_id", c.id), slog.String("method", r.Method), slog.String("path", c.path), slog.String("user", c.user.Name))
	if c.answered {
		return
	}
	whole := r
	if c.body != nil { // the body without the operation's limit, so that all of it is read
		whole = r.WithContext(r.Context())
		whole.Body = c.body
	}
	defer problem.Unread(w, whole)()
	if code == picloud.CodeDeposed { // nothing was changed, so that any request may be sent again
		w.Header().Set(picloud.NotSentHeader, "true")
	}
	problem.Write(w, err, c.id)
}

// invalid returns the error of one bad field or parameter.
func invalid(field, message string) error {
	return invalidFields([]picloud.FieldError{{Field: field, Message: message}})
}

func invalidFields(fields []picloud.FieldError) error {
	return &picloud.Error{Code: picloud.CodeInvalid, Detail: fields[0].Field + " " + fields[0].Message, Fields: fields}
}
