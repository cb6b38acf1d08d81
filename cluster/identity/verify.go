package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/picloud/picloud/cluster/token"
)

// Why a certificate is not accepted. Test with errors.Is.
var (
	ErrStranger = errors.New("the certificate is not signed by a root of the cluster")
	ErrExpired  = errors.New("the certificate ran out")
)

// Verify checks the certificates that a peer showed, its own first, and returns
// who it is. It is one of this cluster, or it is refused. Use is what the peer
// showed them for: client or server.
//
// A certificate that is not valid yet is accepted. The authority never signs ahead
// of its clock, so it tells that the clock of this node is behind: boards without a
// battery start in 1970.
func (i *Identity) Verify(shown []*x509.Certificate, use x509.ExtKeyUsage, now time.Time) (Peer, error) {
	own := i.current.Load()
	peer, err := verify(shown, own.pool, use, now)
	if err != nil {
		return Peer{}, err
	}
	if peer.Cluster != own.peer.Cluster {
		return Peer{}, fmt.Errorf("%w: it is of cluster %s", ErrStranger, peer.Cluster)
	}
	return peer, nil
}

// VerifyPinned checks the certificates of a server with nothing but the pin of a
// join token: one of them must be the root that the pin names, and must have signed
// the first one.
func VerifyPinned(shown []*x509.Certificate, pin token.Pin, now time.Time) (Peer, error) {
	pool := x509.NewCertPool()
	for _, cert := range shown {
		if cert.IsCA && token.PinOf(cert) == pin {
			pool.AddCert(cert)
		}
	}
	return verify(shown, pool, x509.ExtKeyUsageServerAuth, now)
}

func verify(shown []*x509.Certificate, roots *x509.CertPool, use x509.ExtKeyUsage, now time.Time) (Peer, error) {
	if len(shown) == 0 {
		return Peer{}, fmt.Errorf("%w: it shows no certificate", ErrStranger)
	}
	leaf := shown[0]
	peer, err := PeerOf(leaf)
	if err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrStranger, err)
	}
	// The signature first, as of the certificate's first moment: then what it says of
	// its time can be believed.
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: leaf.NotBefore, KeyUsages: []x509.ExtKeyUsage{use}})
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return Peer{}, fmt.Errorf("%w: it says that it is node %s (%s) of cluster %s", ErrStranger, peer.Name, peer.Node, peer.Cluster)
	}
	if err != nil {
		return Peer{}, fmt.Errorf("%w: %w", ErrStranger, err)
	}
	if now.After(leaf.NotAfter) {
		return Peer{}, fmt.Errorf("%w: that of node %s (%s) on %s", ErrExpired, peer.Name, peer.Node, leaf.NotAfter.Format(time.DateOnly))
	}
	return peer, nil
}
