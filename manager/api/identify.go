package api

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/budget"
)

// call is what the handlers know about the request they serve.
type call struct {
	id       string // X-Request-Id
	remote   string // address of the caller
	path     string // as the caller wrote it
	token    string // only after authenticate
	user     picloud.User
	body     io.ReadCloser // of the request, without a bound
	answered bool          // the status line is out
	key      string        // of a key-value store, when the path names one
	memory   *budget.Share
}

type callKey struct{}

// callOf returns the call of a request that passed identify.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		c = &call{}
	}
	return c
}

// reserve takes n bytes more of the node's memory for the call until it is answered,
// before they are allocated.
func reserve(ctx context.Context, n int64) error {
	if callOf(ctx).memory.Take(n) {
		return nil
	}
	return noRoom()
}

func noRoom() error {
	return &picloud.Error{
		Code: picloud.CodeOverload, RetryAfter: time.Second,
		Detail: "other calls fill the memory that this node has for bodies and answers", Hint: "try again",
	}
}

// actor returns who asks.
func actor(ctx context.Context) picloud.Actor {
	u := callOf(ctx).user
	return picloud.Actor{User: u.Name, Admin: u.Admin}
}

// requestID is what a caller may choose as the id of its request.
var requestID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// identify gives each request an id and each answer the headers that all have,
// and turns a panic into a 500 with that id.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{id: r.Header.Get("X-Request-Id"), remote: r.RemoteAddr, path: r.URL.Path, body: r.Body}
		if !requestID.MatchString(c.id) {
			c.id = rand.Text()
		}
		h := w.Header()
		h.Set("X-Request-Id", c.id)
		h.Set("X-PiCloud-Node", s.o.Node)
		if s.o.Functions != "" {
			h.Set(picloud.FunctionsHeader, s.o.Functions)
		}
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store") // answers hold tokens and code
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		w = &witness{ResponseWriter: w, call: c}
		defer s.recover(w, r)
		next.ServeHTTP(w, r)
	})
}

// recover answers for a handler that panicked.
func (s *server) recover(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	c := callOf(r.Context())
	s.log.Error("handler panicked", slog.Any("panic", v), slog.String("request_id", c.id),
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("stack", string(debug.Stack())))
	if c.answered {
		panic(http.ErrAbortHandler) // the caller must not take half an answer for a whole one
	}
	s.fail(w, r, &picloud.Error{Code: picloud.CodeInternal})
}

// witness notes when the status line is out, after which no problem can be sent.
type witness struct {
	http.ResponseWriter
	call *call
}

// WriteHeader sends the status line.
func (a *witness) WriteHeader(status int) {
	a.call.answered = true
	a.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (a *witness) Write(b []byte) (int, error) {
	a.call.answered = true
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *witness) Unwrap() http.ResponseWriter { return a.ResponseWriter }
