package egress

import (
	"context"
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
	"time"
)

// The bounds of outbound requests.
const (
	MaxRequestBody    = 8 << 20  // bytes
	DefaultBody       = 8 << 20  // of a response, after decompression, in bytes
	MaxBody           = 12 << 20 // the most that Request.MaxBody can be
	DefaultTimeout    = 10 * time.Second
	DefaultRedirects  = 5
	MaxRedirects      = 20
	maxRequestHeader  = 64 << 10
	maxResponseHeader = 64 << 10
	maxFields         = 100 // lines of a request's header
)

// Resolver looks names up.
type Resolver interface {
	// LookupNetIP returns the addresses of a host; network is "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Memory counts the large bodies of a node. Nil: they are not counted.
type Memory interface {
	// Take reserves n bytes, or reports that there is no room.
	Take(n int64) bool
	// Give returns n bytes.
	Give(n int64)
}

// Options configure a Client. The zero value of a field means its default.
type Options struct {
	// Reserved says which ports are the node's own: no rule opens them on any
	// address of this machine. It is asked for each connection. Default: none.
	Reserved func(port uint16) bool
	// Resolver looks names up. Default: the system's configuration, in Go.
	Resolver Resolver
	// Memory counts bodies over 64 KiB.
	Memory Memory
	// Roots are the certificate authorities that are trusted. Default: the system's.
	Roots *x509.CertPool
	// Addresses lists the addresses of this machine. Default: net.InterfaceAddrs.
	Addresses func() ([]net.Addr, error)
	// MaxConcurrent is how many requests run at once. Default 256.
	MaxConcurrent int
	// MaxPerApp is how many requests of one app run at once. Default 32.
	MaxPerApp int
}

// Client makes outbound requests for functions. It is safe for concurrent use.
type Client struct {
	opts   Options
	locals locals
	places places
	pool   pool

	// connect is net.Dialer's, but in tests.
	connect func(ctx context.Context, d *net.Dialer, to netip.AddrPort) (net.Conn, error)

	ctx     context.Context //nolint:containedctx // the client's life: it ends dials and requests
	cancel  context.CancelFunc
	mu      sync.Mutex // guards closed; held when running is incremented
	closed  bool
	running sync.WaitGroup
}

// New returns a client. It starts nothing.
func New(o Options) *Client {
	if o.Resolver == nil {
		o.Resolver = &net.Resolver{PreferGo: true}
	}
	if o.Addresses == nil {
		o.Addresses = net.InterfaceAddrs
	}
	if o.Reserved == nil {
		o.Reserved = func(uint16) bool { return false }
	}
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = 256
	}
	if o.MaxPerApp == 0 {
		o.MaxPerApp = 32
	}
	c := &Client{opts: o, connect: func(ctx context.Context, d *net.Dialer, to netip.AddrPort) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", to.String())
	}}
	c.locals.list = o.Addresses
	c.places = places{all: o.MaxConcurrent, each: o.MaxPerApp, apps: map[string]int{}}
	c.pool.entries = map[poolKey]*poolEntry{}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends the requests under way and all connections, and blocks until they
// have ended. Later requests fail.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	c.pool.close()
}

// enter counts a goroutine in, so that Close waits for it. It fails when the client
// is closed.
func (c *Client) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Add(1)
	}
	return !c.closed
}

// places are a counting semaphore: how many requests may run at once.
type places struct {
	all, each int

	mu   sync.Mutex
	used int
	apps map[string]int
}

func (p *places) take(app string) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.apps[app] >= p.each:
		return failed(CodeBusy, "the app has %d outbound requests under way, which is the most", p.each)
	case p.used >= p.all:
		return failed(CodeBusy, "this node has %d outbound requests under way, which is the most", p.all)
	}
	p.used++
	p.apps[app]++
	return nil
}

func (p *places) give(app string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if p.apps[app]--; p.apps[app] == 0 {
		delete(p.apps, app)
	}
}
