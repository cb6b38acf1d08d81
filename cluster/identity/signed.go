package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Signature says which node vouches for a message. It can be passed on: whoever trusts the
// cluster's roots can check it.
type Signature struct {
	Certificate []byte // of the node that signed, in DER
	Signature   []byte // Ed25519
}

const (
	// maxCertificate bounds a certificate, in bytes: one of a node has some 600.
	maxCertificate = 4 << 10
	// signed begins what is signed. No certificate request, and nothing that TLS signs with
	// the same key, begins so.
	signed = "PiCloud signed message 1\x00"
)

// Sign signs a message with the node's key. Subject says what kind of message it is, so that
// one cannot be taken for another.
func (i *Identity) Sign(subject string, message []byte) Signature {
	own := i.current.Load()
	return Signature{
		Certificate: own.leaf.Raw,
		Signature:   ed25519.Sign(i.key.private, statement(own.peer.Cluster, subject, message)),
	}
}

// VerifySigned returns the node of this cluster that signed a message. A certificate that
// ran out signs nothing any more. What the node may sign is for the caller to say.
func (i *Identity) VerifySigned(subject string, message []byte, s Signature, now time.Time) (Peer, error) {
	if len(s.Certificate) > maxCertificate || len(s.Signature) != ed25519.SignatureSize {
		return Peer{}, errors.New("check signature: it has another form")
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return Peer{}, fmt.Errorf("check signature: its certificate cannot be read: %w", err)
	}
	peer, err := i.Verify([]*x509.Certificate{cert}, x509.ExtKeyUsageClientAuth, now)
	if err != nil {
		return Peer{}, fmt.Errorf("check signature: %w", err)
	}
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok || !ed25519.Verify(key, statement(peer.Cluster, subject, message), s.Signature) {
		return Peer{}, fmt.Errorf("check signature: it is not of node %s (%s)", peer.Name, peer.Node)
	}
	return peer, nil
}

// statement is what is signed.
func statement(cluster, subject string, message []byte) []byte {
	digest := sha256.Sum256(message)
	return bytes.Join([][]byte{[]byte(signed + cluster), []byte(subject), digest[:]}, []byte{0})
}
