package egress

import (
	"crypto/tls"
	"net/http"
	"sync"
	"time"
)

const (
	// maxTransports bounds the sets of connections that are kept.
	maxTransports = 64
	// idleTimeout is how long an unused connection stays open.
	idleTimeout = 30 * time.Second
	// maxIdle and maxIdleHost bound the unused connections of one transport.
	maxIdle     = 8
	maxIdleHost = 4
)

// poolKey separates connections: one that was allowed to an app under some
// rules is never used by another app, or under other rules.
type poolKey struct{ app, policy string }

type poolEntry struct {
	transport *http.Transport
	used      time.Time
	users     int
	evicted   bool
}

// pool is a cache of transports; the least recently used one is evicted first.
type pool struct {
	mu      sync.Mutex
	entries map[poolKey]*poolEntry
}

// transport returns the transport of an app and a policy. The caller calls release
// after its use.
func (p *pool) transport(c *Client, app string, policy *Policy) *poolEntry {
	key := poolKey{app: app}
	if policy != nil {
		key.policy = policy.key
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entries[key]
	if e == nil {
		if len(p.entries) >= maxTransports {
			p.evict()
		}
		e = &poolEntry{transport: newTransport(c, policy)}
		p.entries[key] = e
	}
	e.users++
	e.used = time.Now()
	return e
}

// evict drops the least recently used transport. The caller holds mu.
func (p *pool) evict() {
	var oldest poolKey
	var found *poolEntry
	for key, e := range p.entries {
		if found == nil || e.used.Before(found.used) {
			oldest, found = key, e
		}
	}
	delete(p.entries, oldest)
	found.evicted = true
	if found.users == 0 {
		found.transport.CloseIdleConnections()
	}
}

func (p *pool) release(e *poolEntry) {
	p.mu.Lock()
	e.users--
	last := e.evicted && e.users == 0
	p.mu.Unlock()
	if last {
		e.transport.CloseIdleConnections()
	}
}

// close ends all connections. Every request has ended before.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, e := range p.entries {
		e.transport.CloseIdleConnections()
		delete(p.entries, key)
	}
}

// newTransport makes a transport that connects under the policy. It uses no proxy.
// It speaks only HTTP/1.1, so that a connection carries one request at a time, and
// the end of the request can end the connection.
func newTransport(c *Client, policy *Policy) *http.Transport {
	d := &dialer{client: c, policy: policy}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.opts.Roots},
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdleHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		WriteBufferSize:        8 << 10,
		ReadBufferSize:         8 << 10,
		Protocols:              &protocols,
	}
}
