package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/token"
)

// dialTime bounds a dial from the first packet to the greeting, if its context does
// not end before.
const dialTime = 10 * time.Second

// What a dialer finds at an address beside a node that lets it in. Test with
// errors.Is.
var (
	ErrNotPiCloud = errors.New("no node of PiCloud answers there")
	ErrOtherNode  = errors.New("another node answers there")
	ErrLetIn      = errors.New("the other side refuses this node")
)

// RefusedError says that the other side, which has proved who it is, refuses this node.
type RefusedError struct {
	Peer identity.Peer
	err  error
}

// Error implements error.
func (e *RefusedError) Error() string { return e.err.Error() }

// Unwrap returns ErrLetIn with the reason.
func (e *RefusedError) Unwrap() error { return e.err }

// Dialer connects to the ports of other nodes of the cluster. Only Identity is
// needed.
type Dialer struct {
	Identity *identity.Identity
	Now      func() time.Time       // default: time.Now
	Refused  func(node string) bool // whether a node was removed. Default: none was
}

// Dial connects to a node for a protocol. With a node's UUID no other one will do;
// without one any member will. When it returns, the other side has let this node in.
// The errors say the address, the protocol and what was found there.
func (d Dialer) Dial(ctx context.Context, addr, proto, wantNode string) (net.Conn, error) {
	now := d.Now
	if now == nil {
		now = time.Now
	}
	config := &tls.Config{
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.Identity.Certificate(), nil },
	}
	c, err := dial(ctx, addr, proto, config, func(shown []*x509.Certificate) (identity.Peer, error) {
		peer, err := d.Identity.Verify(shown, x509.ExtKeyUsageServerAuth, now())
		if err != nil {
			return peer, err
		}
		if wantNode != "" && peer.Node != wantNode {
			return peer, fmt.Errorf("%w: %s (%s) instead of %s", ErrOtherNode, peer.Name, peer.Node, wantNode)
		}
		return peer, mayUse(proto, peer, d.Refused)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// DialToken connects to any node of the cluster whose root has the pin, to join it.
// What is sent on the connection reaches that cluster and nobody else. ErrUnavailable says
// that nobody answers: trying again makes sense.
func DialToken(ctx context.Context, addr string, pin token.Pin, now func() time.Time) (net.Conn, error) {
	if now == nil {
		now = time.Now
	}
	c, err := dial(ctx, addr, Join, &tls.Config{}, func(shown []*x509.Certificate) (identity.Peer, error) {
		return identity.VerifyPinned(shown, pin, now())
	})
	if err != nil && errors.Is(err, identity.ErrStranger) {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "join", Resource: addr, Detail: "the node there is not of the cluster that the token is of", Err: err,
			Hint: "check the address; if it is right, make a new token there with `picloud node invite`",
		}
	}
	if err != nil && errors.Is(err, ErrNotPiCloud) {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "join", Resource: addr, Detail: "no node of PiCloud answers there", Err: err,
			Hint: "name the address of a node, and its cluster port if that is another one than 7947: --join HOST:PORT",
		}
	}
	if err != nil && !errors.Is(err, identity.ErrExpired) {
		return nil, &picloud.Error{
			Code: picloud.CodeUnreached, Op: "join", Resource: addr, Detail: "nobody answers there", Err: err, RetryAfter: time.Second,
			Hint: "see that the node there runs, and that its cluster port can be reached from here",
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// dial makes a connection whose server verify accepts, and waits to be let in.
func dial(ctx context.Context, addr, proto string, config *tls.Config, verify func([]*x509.Certificate) (identity.Peer, error)) (c *conn, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("dial %s for %s: %w", addr, proto, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	interrupt := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // fails when it is closed
	peer, secured, err := shake(raw, proto, config, verify)
	if !interrupt() {
		err = errors.Join(fmt.Errorf("no answer in time: %w", ctx.Err()), err)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	c = newConn(raw, secured)
	c.peer = peer
	return c, nil
}

// shake does the client's side of the handshake and reads the greeting.
func shake(raw net.Conn, proto string, config *tls.Config, verify func([]*x509.Certificate) (identity.Peer, error)) (peer identity.Peer, secured *tls.Conn, err error) {
	var refused error
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = []string{proto}
	config.InsecureSkipVerify = true // verify does it: nodes have no host names, and the check by name is all that is skipped
	config.VerifyConnection = func(state tls.ConnectionState) error {
		peer, refused = verify(state.PeerCertificates)
		return refused
	}
	secured = tls.Client(raw, config)
	if err := secured.Handshake(); err != nil { //nolint:noctx // the deadline of raw ends it
		return peer, nil, explain(err, refused)
	}
	if secured.ConnectionState().NegotiatedProtocol != proto {
		return peer, nil, ErrNotPiCloud
	}
	var greeting [1]byte
	if _, err := io.ReadFull(secured, greeting[:]); err != nil {
		return peer, nil, explain(err, nil)
	}
	if greeting[0] == 0 {
		return peer, secured, nil
	}
	if int(greeting[0]) < len(greetings) {
		return peer, nil, &RefusedError{peer, fmt.Errorf("%w: %w", ErrLetIn, greetings[greeting[0]])}
	}
	return peer, nil, &RefusedError{peer, fmt.Errorf("%w, for a reason that only a newer version knows", ErrLetIn)}
}

// explain tells what a failed handshake means.
func explain(err, refused error) error {
	if refused != nil {
		return refused
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("%w: %w", ErrNotPiCloud, err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // an alert of TLS
		return fmt.Errorf("%w: what is there speaks TLS but not this protocol: %w", ErrNotPiCloud, op.Err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the other side closed the connection in the handshake: it is not PiCloud, or it has too many connections: %w", err)
	}
	return err
}
