package caddymodule

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/caddymodule/page"
	"github.com/picloud/picloud/internal/problem"
)

// serveRest gives a request that is for no function to the next handler. Where
// there is none Caddy answers 200 with an empty body; this answers 404.
func serveRest(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	seen := &noticed{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	if err := next.ServeHTTP(seen, r); err != nil || seen.answered {
		return err
	}
	if page.Wanted(r) {
		page.Functions(w, r)
		return nil
	}
	problem.WriteFunction(w, &picloud.Error{
		Code: picloud.CodeFunctionNotFound, Resource: picloud.Shorten(r.URL.Path, 200),
		Detail: "there is nothing at this path", Hint: "functions are at /fn/{app}/{function}; the control API has a port of its own",
	}, "")
	return nil
}

// noticed is a ResponseWriter that records whether the next handler answered.
type noticed struct {
	caddyhttp.ResponseWriterWrapper
	answered bool
}

// WriteHeader sends the status line.
func (n *noticed) WriteHeader(status int) {
	n.answered = true
	n.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (n *noticed) Write(b []byte) (int, error) {
	n.answered = true
	return n.ResponseWriter.Write(b)
}

// ReadFrom sends a part of the body.
func (n *noticed) ReadFrom(r io.Reader) (int64, error) {
	n.answered = true
	return n.ResponseWriterWrapper.ReadFrom(r)
}

// Hijack takes the connection over.
func (n *noticed) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	n.answered = true
	return http.NewResponseController(n.ResponseWriter).Hijack()
}

// expect prepares the answer to a client that sends its body only after
// "100 Continue". net/http sends that line at the first read of the body. It
// recognises its own body that nobody has read, and then answers at once. Caddy
// wraps the body, so that net/http does not recognise it and would wait for the
// body before it sends the answer.
func expect(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if r.ProtoMajor != 1 || len(r.Header["Expect"]) == 0 || r.Body == nil {
		return w
	}
	body := &expected{ReadCloser: r.Body}
	r.Body = body
	return &expecting{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, body: body}
}

// expected is a body that the client did not begin to send.
type expected struct {
	io.ReadCloser
	asked bool
}

// Read asks for the body.
func (e *expected) Read(b []byte) (int, error) {
	e.asked = true
	return e.ReadCloser.Read(b)
}

// expecting is the answer to a client that waits.
type expecting struct {
	caddyhttp.ResponseWriterWrapper
	body *expected
	sent bool
}

// WriteHeader sends the status line. If the handler did not ask for the body, the
// connection ends with this answer: the client alone knows whether the body still
// comes.
func (e *expecting) WriteHeader(status int) {
	if status >= http.StatusOK {
		e.sent = true
		if !e.body.asked {
			problem.Last(e)
		}
	}
	e.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (e *expecting) Write(b []byte) (int, error) {
	if !e.sent {
		e.WriteHeader(http.StatusOK)
	}
	return e.ResponseWriter.Write(b)
}

// ReadFrom sends a part of the body.
func (e *expecting) ReadFrom(r io.Reader) (int64, error) {
	if !e.sent {
		e.WriteHeader(http.StatusOK)
	}
	return e.ResponseWriterWrapper.ReadFrom(r)
}
