package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/picloud/picloud/cluster/token"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	nodeLife      = 180 * 24 * time.Hour
	// backdate is how far the clocks of two nodes may differ when a certificate is new.
	backdate = 48 * time.Hour
	// maxRequest bounds a certificate request. One of Ed25519 has about 200 bytes.
	maxRequest = 4 << 10
)

// Authority signs the certificates of a cluster's nodes. It is a root certificate
// and its key. It is safe for concurrent use, and prints as its cluster.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     ed25519.PrivateKey
}

// NewAuthority makes the authority of a cluster, for ten years.
func NewAuthority(clusterID string, now time.Time) (*Authority, error) {
	const op = "make the cluster's authority"
	if !uuid.MatchString(clusterID) {
		return nil, errors.New(op + ": the cluster's ID is no UUID")
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "PiCloud cluster " + clusterID},
		URIs:      []*url.URL{spiffe(clusterID)},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return openAuthority(der, key)
}

// OpenAuthority reads what Certificate and KeyDER returned.
func OpenAuthority(certPEM, keyDER []byte) (*Authority, error) {
	const op = "open the cluster's authority"
	certs, err := decodeCertificates(certPEM)
	if err != nil || len(certs) != 1 {
		return nil, errors.New(op + ": its certificate cannot be read")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyDER)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New(op + ": its key cannot be read")
	}
	a, err := openAuthority(certs[0].Raw, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return a, nil
}

func openAuthority(der []byte, key ed25519.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	cluster, err := clusterOf(cert)
	if err != nil {
		return nil, err
	}
	if !key.Public().(ed25519.PublicKey).Equal(cert.PublicKey) {
		return nil, errors.New("its key is not the one of its certificate")
	}
	return &Authority{cluster: cluster, cert: cert, key: key}, nil
}

// clusterOf reads of which cluster a certificate is the root.
func clusterOf(root *x509.Certificate) (cluster string, err error) {
	if _, ok := root.PublicKey.(ed25519.PublicKey); !ok || !root.IsCA || len(root.URIs) != 1 {
		return "", errors.New("it is no root of a cluster")
	}
	cluster = root.URIs[0].Host
	if !uuid.MatchString(cluster) || root.URIs[0].String() != spiffe(cluster).String() {
		return "", errors.New("it is no root of a cluster: it names none")
	}
	if err := root.CheckSignatureFrom(root); err != nil {
		return "", fmt.Errorf("it is no root of a cluster: %w", err)
	}
	return cluster, nil
}

// Certificate returns the root certificate, in PEM.
func (a *Authority) Certificate() []byte { return encode(blockCertificate, a.cert.Raw) }

// KeyDER returns the private key in PKCS #8. Whoever has it can make members of
// the cluster.
func (a *Authority) KeyDER() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		panic(err) // an Ed25519 key can always be written
	}
	return der
}

// Cluster returns the UUID of the cluster.
func (a *Authority) Cluster() string { return a.cluster }

// Pin returns what join tokens name the cluster by.
func (a *Authority) Pin() token.Pin { return token.PinOf(a.cert) }

// Format keeps the key out of every kind of print.
func (a *Authority) Format(f fmt.State, _ rune) { fmt.Fprint(f, "authority of cluster "+a.cluster) }

// LogValue keeps the key out of logs.
func (a *Authority) LogValue() slog.Value {
	return slog.StringValue("authority of cluster " + a.cluster)
}

// Request asks for a certificate. Who the node is comes from whoever admits it,
// never from the node's own request.
type Request struct {
	Node string // UUID
	Name string // for people: a valid name of a node
	Role Role
	CSR  []byte // in DER; it only brings the public key, and proves that the node has the private one
}

// Sign returns a certificate for the node, in PEM. It holds for 180 days from now,
// and began 48 hours ago. The span lies within the life of the authority.
func (a *Authority) Sign(req Request, now time.Time) (leafPEM []byte, err error) {
	const op = "sign certificate of a node"
	peer := Peer{Cluster: a.cluster, Node: req.Node, Name: req.Name, Role: req.Role}
	if err := peer.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	public, err := publicKeyOf(req.CSR)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if public.Equal(a.cert.PublicKey) {
		return nil, errors.New(op + ": its key is the authority's own")
	}
	begin, end := now.Add(-backdate), now.Add(nodeLife)
	if begin.Before(a.cert.NotBefore) {
		begin = a.cert.NotBefore
	}
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	if !end.After(now) {
		return nil, fmt.Errorf("%s: the cluster's authority ran out on %s", op, a.cert.NotAfter.Format(time.DateOnly))
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: req.Name},
		URIs:      peer.uris(),
		NotBefore: begin, NotAfter: end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return encode(blockCertificate, der), nil
}

// publicKeyOf returns the key of a certificate request, whose sender has proved
// that it has the private one.
func publicKeyOf(csr []byte) (ed25519.PublicKey, error) {
	if len(csr) > maxRequest {
		return nil, errors.New("the request is too large")
	}
	request, err := x509.ParseCertificateRequest(bytes.Clone(csr))
	if err != nil {
		return nil, fmt.Errorf("the request cannot be read: %w", err)
	}
	public, ok := request.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the request's key is not Ed25519")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request is not signed with its key: %w", err)
	}
	return public, nil
}
