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
	last   *lastID
}

// ConnectTo makes a client for t. It sends nothing yet.
func (c *Base) ConnectTo(t target.Target) (*Node, error) {
	last := &lastID{next: c.Transport}
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

// FunctionURL returns where the function at path answers.
func (n *Node) FunctionURL(path string) string {
	ref, err := url.Parse(path)
	if err != nil {
		return path
	}
	return n.target.Functions.ResolveReference(ref).String()
}

// Fail explains the error of a request, and adds the id under which the node's
// log knows it.
func (n *Node) Fail(err error, op, resource string) error {
	if err == nil {
		return nil
	}
	f := failure.Explain(err, op, resource)
	f.Resource = resource
	if f.Err.Code == picloud.CodeUnauthenticated {
		f.TokenFrom = n.target.TokenFrom
	}
	if f.RequestID == "" {
		f.RequestID = n.last.get()
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
