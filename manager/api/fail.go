package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/problem"
)

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
	problem.Write(w, err, c.id)
}

// invalid returns the error of one bad field or parameter.
func invalid(field, message string) error {
	return invalidFields([]picloud.FieldError{{Field: field, Message: message}})
}

func invalidFields(fields []picloud.FieldError) error {
	return &picloud.Error{Code: picloud.CodeInvalid, Detail: fields[0].Field + " " + fields[0].Message, Fields: fields}
}
