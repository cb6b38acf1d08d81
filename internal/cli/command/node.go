package command

import (
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

// Node is a signed-in client of one node.
type Node struct {
	*client.Client
	target target.Target
	last   *latest
}

// Target is the server and the token of the client.
func (n *Node) Target() target.Target { return n.target }

// ConnectTo makes a client for t. It sends nothing yet.
func (c *Base) ConnectTo(t target.Target) (*Node, error) {
	last := &latest{next: &patient{next: c.Transport, most: patience, note: c.Notef}}
	api, err := client.New(t.Server, t.Token, client.WithHTTPClient(&http.Client{
		Transport: last,
		// A redirect would carry the token to another address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	if err != nil {
		return nil, err
	}
	return &Node{Client: api, target: t, last: last}, nil
}

// User is the user that the node found by the token of the latest request; empty: it
// found none, or did not answer.
func (n *Node) User() string { return n.last.get().user }

// FunctionURL returns where the function at path answers: on the node that was asked, as it
// said itself, unless somebody named a place.
func (n *Node) FunctionURL(path string) string {
	ref, err := url.Parse(path)
	if err != nil {
		return path
	}
	return n.target.ServedAt(n.last.get().functions).ResolveReference(ref).String()
}

// Fail explains the error of a request, and adds the id under which the node's
// log knows it.
func (n *Node) Fail(err error, op, resource string) error {
	if err == nil {
		return nil
	}
	f := failure.Explain(err, op, resource)
	f.Resource = resource
	f.TokenFrom, f.User, f.Claimed = n.target.TokenFrom, n.last.get().user, n.target.User
	f.Refused = f.Err.Code == picloud.CodeUnauthenticated || f.Err.Code == picloud.CodeForbidden
	if f.RequestID == "" {
		f.RequestID = n.last.get().id
	}
	if f.Err.Op == "reach" { // the client did not get an answer
		f.Err.Hint = "is the node running? start one with: " + failure.StartNode()
	}
	return f
}

// latest is a transport that remembers what the latest answer said about its request.
type latest struct {
	next   http.RoundTripper
	answer atomic.Pointer[stamp]
}

// stamp is what an answer says of its request.
type stamp struct {
	id   string // under which the node's log knows it
	user string // whose token it carried; empty: nobody's

	functions string // where the node serves functions, as seen from itself; empty: it did not say
}

// RoundTrip implements http.RoundTripper.
func (l *latest) RoundTrip(r *http.Request) (*http.Response, error) {
	l.answer.Store(nil)
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		l.answer.Store(&stamp{resp.Header.Get("X-Request-Id"), resp.Header.Get("X-PiCloud-User"), resp.Header.Get(picloud.FunctionsHeader)})
	}
	return resp, err
}

func (l *latest) get() stamp {
	if s := l.answer.Load(); s != nil {
		return *s
	}
	return stamp{}
}

// NewTransport returns a transport that gives up on dead servers.
func NewTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 1 << 20,
		IdleConnTimeout:        30 * time.Second,
	}
}
