package egress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Request is what a function asks for.
type Request struct {
	Function string // for the remedy in errors, as the CLI takes it
	URL      string // absolute, http or https
	Method   string // default GET
	Header   []Field
	Body     []byte        // at most MaxRequestBody
	Timeout  time.Duration // of everything; default DefaultTimeout
	// Redirects is how many redirects are followed. Default DefaultRedirects, at
	// most MaxRedirects; negative: the redirect itself is the response.
	Redirects int
	MaxBody   int64 // default DefaultBody, at most MaxBody
	// OnRedirect is asked before a redirect is followed; its error ends the
	// request. Nil: nobody is asked.
	OnRedirect func() error
}

// Field is a line of a header.
type Field struct{ Name, Value string }

// Response is what came back. Release gives the memory of its body back.
type Response struct {
	Status int
	Header []Field // names in lower case, sorted; several lines of one name in their order
	Body   []byte
	URL    string // of the last redirect

	memory Memory
	held   int64
}

// Release gives the body's memory back to the node. Nil is fine.
func (r *Response) Release() {
	if r != nil && r.held > 0 {
		r.memory.Give(r.held)
		r.held = 0
	}
}

// Check says why Fetch would refuse a request before it connects, or returns nil. The
// error is an *Error.
func (c *Client) Check(policy *Policy, r Request) error {
	t, err := parseTarget(r.URL, nil)
	if err == nil {
		_, err = r.complete()
	}
	switch {
	case err != nil:
	case t.addr.IsValid():
		d := dialer{client: c, policy: policy}
		err = d.allowed(netip.AddrPortFrom(t.addr.Unmap(), t.port), policy.every(t.port), t.host)
	default:
		err = permitted(policy, t)
	}
	if err != nil {
		return r.remedy(err)
	}
	return nil
}

// remedy adds the command that allows a request to an error.
func (r *Request) remedy(err *Error) *Error {
	if err.rule == "" {
		return err
	}
	function := r.Function
	if function == "" {
		function = "FUNCTION"
	}
	return &Error{Code: err.Code, Message: err.Message + "; allow it with: picloud egress allow " + function + " " + quoted(err.rule)}
}

// Fetch makes a request for a function of the app, under its policy. An error
// is an *Error, or that of OnRedirect. The caller releases the response.
func (c *Client) Fetch(ctx context.Context, app string, policy *Policy, r Request) (*Response, error) {
	out, err := c.fetch(ctx, app, policy, r)
	if err == nil {
		return out, nil
	}
	if err.cause != nil {
		return nil, err.cause
	}
	return nil, r.remedy(err)
}

// quoted is a rule as a shell takes it.
func quoted(rule string) string {
	if strings.HasPrefix(rule, "[") {
		return "'" + rule + "'"
	}
	return rule
}

func (c *Client) fetch(ctx context.Context, app string, policy *Policy, r Request) (*Response, *Error) {
	t, err := parseTarget(r.URL, nil)
	if err != nil {
		return nil, err
	}
	header, err := r.complete()
	if err != nil {
		return nil, err
	}
	if !c.enter() {
		return nil, failed(CodeFailed, "the node is shutting down")
	}
	defer c.running.Done()
	if err := c.places.take(app); err != nil {
		return nil, err
	}
	defer c.places.give(app)
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	entry := c.pool.transport(c, app, policy)
	defer c.pool.release(entry)
	for hops := 0; ; hops++ {
		if err := permitted(policy, t); err != nil {
			return nil, err
		}
		resp, failure := entry.transport.RoundTrip(t.request(ctx, &r, header))
		if failure != nil {
			return nil, explain(ctx, t.host, failure)
		}
		location := resp.Header.Get("Location")
		if r.Redirects < 0 || location == "" || !redirects(resp.StatusCode) {
			return c.response(ctx, t, resp, r.MaxBody)
		}
		discard(resp.Body)
		if hops >= r.Redirects {
			return nil, failed(CodeRedirects, "more than %d redirects, the last one by %s", r.Redirects, t.host)
		}
		if r.OnRedirect != nil {
			if err := r.OnRedirect(); err != nil {
				return nil, &Error{cause: err}
			}
		}
		next, err := parseTarget(location, t.url)
		if err != nil {
			return nil, failed(CodeRedirects, "%s redirects to a URL that is not valid: %s", t.host, err.Message)
		}
		r.redirect(resp.StatusCode, header)
		if !t.sameOrigin(next) {
			keepHarmless(header)
		}
		t = next
	}
}

// permitted checks the host against the rules, before any DNS query.
func permitted(policy *Policy, t *target) *Error {
	if t.addr.IsValid() || policy.may(t.host, t.port) {
		return nil // an address needs no DNS query, and dial checks it
	}
	return denied(t.host, t.port)
}

func (t *target) request(ctx context.Context, r *Request, header http.Header) *http.Request {
	req := &http.Request{
		Method: r.Method, URL: t.url, Host: t.url.Host, Header: header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	if len(r.Body) > 0 {
		body := r.Body
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req.WithContext(ctx)
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirect makes the next request as browsers do. 307 and 308 keep method and body,
// and GET and HEAD never change. A 303 makes any other request a GET without a body;
// other statuses do that to a POST only.
func (r *Request) redirect(status int, header http.Header) {
	switch {
	case status == http.StatusTemporaryRedirect || status == http.StatusPermanentRedirect || r.Method == http.MethodHead || r.Method == http.MethodGet:
		return
	case status != http.StatusSeeOther && r.Method != http.MethodPost:
		return
	}
	r.Method, r.Body = http.MethodGet, nil
	for name := range header {
		if strings.HasPrefix(name, "Content-") {
			delete(header, name)
		}
	}
}

// discard reads the rest of an unused body if it is short, so that the connection
// can serve the next request.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 4<<10)
	_ = body.Close()
}

// response reads the body and completes the response.
func (c *Client) response(ctx context.Context, t *target, resp *http.Response, limit int64) (*Response, *Error) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, failed(CodeFailed, "%s wants to speak another protocol", t.host)
	}
	out := &Response{Status: resp.StatusCode, URL: t.url.String(), memory: c.opts.Memory}
	for name, values := range resp.Header {
		for _, v := range values {
			out.Header = append(out.Header, Field{strings.ToLower(name), v})
		}
	}
	slices.SortStableFunc(out.Header, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	err := out.read(resp.Body, resp.ContentLength, limit)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, errTooLarge):
		out.Release()
		return nil, failed(CodeTooLarge, "the response of %s is over the limit of %d bytes", t.host, limit)
	case errors.Is(err, errNoRoom):
		out.Release()
		return nil, failed(CodeBusy, "this node has no memory left for the response: the responses of other calls fill it")
	}
	out.Release()
	return nil, explain(ctx, t.host, err)
}
