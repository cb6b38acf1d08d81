package port

import (
	"net"
	"sync"
	"time"

	"github.com/picloud/picloud/cluster/identity"
)

// listener is a protocol of the port.
type listener struct {
	p     *Port
	proto string
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// Listener handles a protocol, and returns its connections as those of a listener,
// for http.Server and Raft. PeerOf tells who is at the other end of each. Closing
// the listener ends the protocol and leaves its connections open; closing the port
// ends both.
func (p *Port) Listener(proto string) net.Listener {
	l := &listener{p: p, proto: proto, conns: make(chan net.Conn), done: make(chan struct{})}
	p.Handle(proto, l.offer)
	return l
}

// offer waits until the connection is accepted, and then until it is closed.
func (l *listener) offer(c net.Conn, _ identity.Peer) {
	patience := time.NewTimer(l.p.o.handshake)
	defer patience.Stop()
	gone := c.(*conn).gone
	select {
	case l.conns <- c:
		<-gone
	case <-gone:
	case <-l.done:
	case <-patience.C:
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
	case <-l.p.done:
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.p.mu.Lock()
		defer l.p.mu.Unlock()
		delete(l.p.handlers, l.proto)
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.p.Addr() }
