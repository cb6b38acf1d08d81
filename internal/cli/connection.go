package cli

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// callTimeout bounds one request to the control API. Deploys wait for nodes,
// which the server bounds at less.
const callTimeout = time.Minute

// connection is a signed-in client of one node.
type connection struct {
	*client.Client
	target target
	last   *lastID
}

// connect resolves the node and makes a client for it. It sends nothing yet.
func (c *cli) connect() (*connection, error) {
	t, err := c.target()
	if err != nil {
		return nil, err
	}
	return c.connectTo(t)
}

func (c *cli) connectTo(t target) (*connection, error) {
	last := &lastID{next: c.Transport}
	api, err := client.New(t.server, t.token, client.WithHTTPClient(&http.Client{
		Transport: last,
		// A redirect would carry the token to another address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	if err != nil {
		return nil, err
	}
	return &connection{Client: api, target: t, last: last}, nil
}

// fail explains the error of a request, and adds the id under which the node's
// log knows it.
func (n *connection) fail(err error, op, resource string) error {
	if err == nil {
		return nil
	}
	f := explain(err, op, resource)
	f.resource = resource
	if f.err.Code == picloud.CodeUnauthenticated {
		f.tokenFrom = n.target.tokenFrom
	}
	if f.requestID == "" {
		f.requestID = n.last.get()
	}
	return f
}

// lastID is a transport that remembers the request id of the latest answer.
type lastID struct {
	next http.RoundTripper
	id   atomic.Value // string
}

// RoundTrip implements http.RoundTripper.
func (l *lastID) RoundTrip(r *http.Request) (*http.Response, error) {
	l.id.Store("")
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		l.id.Store(resp.Header.Get("X-Request-Id"))
	}
	return resp, err
}

func (l *lastID) get() string {
	id, _ := l.id.Load().(string)
	return id
}

// newTransport returns a transport that gives up on dead servers.
func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		IdleConnTimeout:        30 * time.Second,
	}
}

// deadline bounds a call.
func deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}

// readTagged reads an answer with its ETag.
func readTagged[T any](resp *http.Response, err error) (out T, etag string, _ error) {
	out, err = client.Read[T](resp, err)
	if err == nil {
		etag = resp.Header.Get("ETag")
	}
	return out, etag, err
}
