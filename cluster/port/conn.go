package port

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/picloud/picloud/cluster/identity"
)

// Why a member is not let in, or does not want to be. Test with errors.Is; the
// reasons that certificates give are in package identity.
var (
	ErrRemoved = errors.New("the node was removed from the cluster")
	ErrRole    = errors.New("the node's role does not allow this protocol")
	ErrBusy    = errors.New("the node has too many connections")
)

// greetings are the first byte of a server, by what it tells the client. They are
// part of the protocol: a reason gets a new number, at the end.
var greetings = []error{nil, identity.ErrStranger, identity.ErrExpired, ErrRemoved, ErrRole, ErrBusy}

func greetingOf(verdict error) byte {
	if verdict == nil {
		return 0
	}
	for greeting, reason := range greetings[1:] {
		if errors.Is(verdict, reason) {
			return byte(greeting + 1)
		}
	}
	return 255
}

// conn is a connection in either direction.
type conn struct {
	*tls.Conn
	raw    net.Conn
	source netip.Prefix  // the address of the other end, for the bound by address
	peer   identity.Peer // the zero value while nobody is known to be there
	member bool          // the table counts it as one; under its lock
	once   sync.Once
	gone   chan struct{} // closed when the connection is
}

func newConn(raw net.Conn, secured *tls.Conn) *conn {
	return &conn{Conn: secured, raw: raw, source: sourceOf(raw.RemoteAddr()), gone: make(chan struct{})}
}

// Close tells the other end, and closes.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.gone) })
	return err
}

// kill closes at once, whatever the other end or a blocked writer does.
func (c *conn) kill() {
	c.raw.Close()
	c.once.Do(func() { close(c.gone) })
}

// PeerOf returns the node at the other end of a connection of this package. Nobody
// is known to be at that of a server's Join, nor at any other connection.
func PeerOf(c net.Conn) identity.Peer {
	if c, ok := c.(*conn); ok {
		return c.peer
	}
	return identity.Peer{}
}

// sourceOf is whom the bound by address counts together: one IPv4 address, or a
// network of IPv6, in which one machine has as many addresses as it likes.
func sourceOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	source, _ := ip.Prefix(bits) // fails for no address at all: all of those are one
	return source
}
