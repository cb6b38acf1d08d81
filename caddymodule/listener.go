package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// Network is the name under which sites of a Caddyfile listen on sockets that
// outlive configurations: `bind picloud/127.0.0.1`.
//
// On a reload Caddy opens a second socket of the same port and closes the first
// one. The connections that wait in the first socket's queue are then lost. On this
// network both configurations accept from one socket, so no connection is lost.
const Network = "picloud"

// sockets are the listening sockets of this process, by address.
var sockets = socketPool{open: map[string]*socket{}}

type socketPool struct {
	mu   sync.Mutex
	open map[string]*socket
}

type socket struct {
	listener *net.TCPListener
	refs     int
}

// listen is the network's caddy.ListenerFunc.
func (p *socketPool) listen(ctx context.Context, _, host, port string, offset uint, config net.ListenConfig) (any, error) {
	addr, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress("tcp", host, port))
	if err != nil {
		return nil, err
	}
	address := addr.JoinHostPort(offset)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.open[address]
	if s == nil {
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return nil, errors.Join(fmt.Errorf("listen on %s: not a TCP listener", address), l.Close())
		}
		s = &socket{listener: tcp}
		p.open[address] = s
	}
	s.refs++
	own, err := duplicate(s.listener)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", address, err), p.release(address, s))
	}
	shared := &sharedListener{Listener: own, closed: make(chan struct{})}
	shared.release = sync.OnceValue(func() error {
		close(shared.closed)
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.release(address, s)
	})
	if config, ok := ctx.(caddy.Context); ok {
		if app, err := config.AppIfConfigured("picloud"); err == nil {
			app.(*App).handover.add(shared)
		}
	}
	return shared, nil
}

// has reports whether a socket of the pool has the port.
func (p *socketPool) has(port uint16) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address := range p.open {
		if _, text, err := net.SplitHostPort(address); err == nil && text == strconv.Itoa(int(port)) {
			return true
		}
	}
	return false
}

// release closes the socket with its last user. The caller holds mu.
func (p *socketPool) release(address string, s *socket) error {
	if s.refs--; s.refs > 0 {
		return nil
	}
	delete(p.open, address)
	return s.listener.Close()
}

// duplicate returns a listener of its own on the same socket.
func duplicate(l *net.TCPListener) (net.Listener, error) {
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	own, err := net.FileListener(file) // duplicates the descriptor again
	return own, errors.Join(err, file.Close())
}

// sharedListener is one configuration's use of a socket.
type sharedListener struct {
	net.Listener
	release func() error
	paused  atomic.Bool
	closed  chan struct{}
}

// Accept returns the next connection; after pause it waits for Close.
func (l *sharedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil && l.paused.Load() {
		<-l.closed
	}
	return conn, err
}

// pause leaves further connections to the other uses of the socket.
func (l *sharedListener) pause() {
	if l.paused.CompareAndSwap(false, true) {
		_ = l.Listener.Close() // our descriptor only; Close reports nothing new
	}
}

// Close ends this use; connections that wait are left to the other uses.
func (l *sharedListener) Close() error {
	err := l.Listener.Close()
	if l.paused.Load() {
		err = nil // closed before
	}
	return errors.Join(err, l.release())
}
