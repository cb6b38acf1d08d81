// Package port is the one TCP port through which the nodes of a cluster speak to
// each other. It is TLS 1.3 throughout; the protocol is agreed on in the handshake
// (ALPN), and decides who may use it: anybody with a token joins, members do the
// rest, and only managers vote.
//
// A handler gets a connection when the port knows who is at the other end, and
// never before. The first byte that a server sends in the tunnel tells the client
// whether it was let in, since in TLS 1.3 a client cannot know that otherwise.
package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/internal/service"
)

// The protocols, as ALPN names them.
const (
	Join     = "picloud-join/1" // no certificate: the token is asked for inside
	RPC      = "picloud-rpc/1"  // members
	Raft     = "picloud-raft/1" // managers
	Database = "picloud-pg/1"   // members
)

const (
	handshakeTime = 10 * time.Second // from the first byte to the greeting
	joinTime      = 30 * time.Second // the whole life of a connection without certificate
	closeTime     = 5 * time.Second  // how long Close waits for handlers
	acceptPause   = 100 * time.Millisecond
)

// keepAlive finds out within 30 s that the other end of an idle connection has gone
// without a word, as a board does whose power is cut.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Options make a port. The zero value of all but Identity is its default.
type Options struct {
	Identity      *identity.Identity
	Now           func() time.Time       // default: time.Now
	Refused       func(node string) bool // whether a node was removed; it must not block. Default: none was
	MaxConns      int                    // connections of members at once; a quarter of them for each node. Default: 1024
	MaxPerAddress int                    // connections at once whose other end is not known, from one address; four times as many in all. Default: 32
	Logger        *slog.Logger           // default: none

	handshake, closing time.Duration // shorter in tests
}

// Port is the listener. It is safe for concurrent use.
type Port struct {
	o        Options
	listener net.Listener
	table    *table
	refusals refusals
	done     chan struct{}
	close    sync.Once
	work     sync.WaitGroup

	mu       sync.RWMutex
	handlers map[string]func(net.Conn, identity.Peer)
}

// Listen opens the port. A protocol is refused until it has a handler.
func Listen(addr string, o Options) (*Port, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Refused == nil {
		o.Refused = func(string) bool { return false }
	}
	if o.MaxConns == 0 {
		o.MaxConns = 1024
	}
	if o.MaxPerAddress == 0 {
		o.MaxPerAddress = 32
	}
	if o.handshake == 0 {
		o.handshake = handshakeTime
	}
	if o.closing == 0 {
		o.closing = closeTime
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	listen := net.ListenConfig{KeepAliveConfig: keepAlive}
	listener, err := listen.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("open cluster port %s: %w", addr, err)
	}
	p := &Port{
		o: o, listener: listener, table: newTable(o.MaxConns, o.MaxPerAddress),
		refusals: refusals{logger: o.Logger}, done: make(chan struct{}),
		handlers: map[string]func(net.Conn, identity.Peer){},
	}
	p.work.Go(p.accept)
	return p, nil
}

// Addr returns the address that the port listens on.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// Handle gives the connections of a protocol to accept, each in a goroutine of its
// own, with the node at the other end; for Join that is nobody. A connection is
// closed when accept returns. Accept must return soon after its connection breaks.
func (p *Port) Handle(proto string, accept func(conn net.Conn, peer identity.Peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[proto] = accept
}

func (p *Port) handler(proto string) func(net.Conn, identity.Peer) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.handlers[proto]
}

// Drop closes the connections of a node, which was removed.
func (p *Port) Drop(node string) { p.table.drop(node) }

// Close stops listening, closes all connections and waits for their handlers, up to
// 5 s.
func (p *Port) Close() {
	p.close.Do(func() {
		close(p.done)
		p.listener.Close()
		p.table.close()
	})
	wait := service.Go(context.Background(), func(context.Context) { p.work.Wait() })
	select {
	case <-wait.Done():
	case <-time.After(p.o.closing):
		p.o.Logger.Error("the cluster port is closed, but a handler goes on with a broken connection")
	}
}

func (p *Port) accept() {
	for {
		raw, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: it passes
			p.refusals.add("accept", err)
			select {
			case <-p.done:
				return
			case <-time.After(acceptPause):
			}
			continue
		}
		c := newConn(raw, tls.Server(raw, p.config()))
		if p.table.add(c) {
			p.work.Go(func() { p.serve(c) })
		}
	}
}

// serve brings one connection from its first byte to its handler's end.
func (p *Port) serve(c *conn) {
	defer p.table.remove(c)
	defer c.kill()
	_ = c.raw.SetDeadline(time.Now().Add(p.o.handshake)) // fails when the connection is closed
	if err := c.Handshake(); err != nil {                //nolint:noctx // the deadline ends it, and so does Close
		p.refusals.add(c.raw.RemoteAddr().String(), err)
		return
	}
	proto := c.ConnectionState().NegotiatedProtocol
	handle := p.handler(proto)
	if handle == nil { // the client asked for no protocol, or its handler has just gone
		p.refusals.add(c.raw.RemoteAddr().String(), errors.New("it asked for no protocol of PiCloud"))
		return
	}
	verdict := p.admit(c, proto)
	if verdict != nil {
		p.refusals.add(c.raw.RemoteAddr().String(), verdict)
	}
	if _, err := c.Write([]byte{greetingOf(verdict)}); err != nil || verdict != nil {
		_ = c.Close() // says goodbye if it can
		return
	}
	_ = c.raw.SetDeadline(time.Time{})
	if proto == Join {
		end := time.AfterFunc(joinTime, c.kill)
		defer end.Stop()
	}
	defer func() {
		if reason := recover(); reason != nil {
			p.o.Logger.Error("a handler of the cluster port panicked", slog.String("protocol", proto), slog.Any("reason", reason), slog.String("stack", string(debug.Stack())))
		}
	}()
	handle(c, c.peer)
	_ = c.Close() // says goodbye if it can
}

// admit decides whether a connection whose handshake is done may use its protocol.
// This is the one place that lets anybody in.
func (p *Port) admit(c *conn, proto string) error {
	if proto == Join {
		return nil
	}
	peer, err := p.o.Identity.Verify(c.ConnectionState().PeerCertificates, x509.ExtKeyUsageClientAuth, p.o.Now())
	if err != nil {
		return err
	}
	c.peer = peer
	if err := p.table.admit(c); err != nil {
		return err
	}
	return mayUse(proto, peer, p.o.Refused) // the last step: from here on Drop finds the connection
}

// mayUse is what both ends ask of a member.
func mayUse(proto string, peer identity.Peer, refused func(string) bool) error {
	if refused != nil && refused(peer.Node) {
		return fmt.Errorf("%w: node %s (%s)", ErrRemoved, peer.Name, peer.Node)
	}
	if proto == Raft && peer.Role != identity.Manager {
		return fmt.Errorf("%w: node %s (%s) is no manager", ErrRole, peer.Name, peer.Node)
	}
	return nil
}

// config chooses by the protocol that the client asks for. A client names one.
func (p *Port) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			config := &tls.Config{
				MinVersion:             tls.VersionTLS13,
				SessionTicketsDisabled: true,                // each connection is checked anew
				NextProtos:             []string{"picloud"}, // no client has that: it hears that its protocol is not spoken
				ClientAuth:             tls.RequireAnyClientCert,
				Certificates:           []tls.Certificate{*p.o.Identity.Certificate()},
			}
			if len(hello.SupportedProtos) == 1 && p.handler(hello.SupportedProtos[0]) != nil {
				config.NextProtos = hello.SupportedProtos
			}
			if config.NextProtos[0] == Join {
				config.ClientAuth = tls.NoClientCert
			}
			return config, nil
		},
	}
}
