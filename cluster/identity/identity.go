package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxRoots bounds the roots that a node trusts at once: while a cluster changes
// its root there are two.
const maxRoots = 4

// Identity is a node's key, its certificate and the roots that it trusts. The
// latter two can be replaced while it is in use. It is safe for concurrent use,
// and prints as the node that it names.
type Identity struct {
	dir     string
	key     *Key
	replace sync.Mutex
	current atomic.Pointer[pair]
}

// pair is a certificate and the roots that go with it.
type pair struct {
	peer  Peer
	leaf  *x509.Certificate
	roots []*x509.Certificate // the newest first
	pool  *x509.CertPool
	tls   *tls.Certificate
}

// Load reads the identity that Save wrote. A node that never joined a cluster has
// none: fs.ErrNotExist. Files that do not belong together are an error that says
// what to do. A certificate that ran out is loaded too: peers refuse it.
func Load(dir string) (*Identity, error) {
	path := filepath.Join(dir, certificateFile)
	raw, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, err := MakeOrLoadKey(dir)
	if err != nil {
		return nil, err
	}
	p, err := decodePair(raw, key)
	if err != nil {
		return nil, damaged(path, err.Error())
	}
	i := &Identity{dir: dir, key: key}
	i.current.Store(p)
	return i, nil
}

// Save writes the certificate that the node's key in dir was given, and the roots
// of its cluster, the newest first. Both go into one file, so that a crash at any
// moment leaves the old pair or the new one. What does not belong together is
// refused, and nothing is written.
func Save(dir string, leafPEM, rootsPEM []byte) error {
	key, err := loadKey(dir)
	if err != nil {
		return err
	}
	_, err = save(dir, key, nil, leafPEM, rootsPEM)
	return err
}

func save(dir string, key *Key, old *pair, leafPEM, rootsPEM []byte) (*pair, error) {
	const op = "save node identity"
	raw := slices.Concat(bytes.TrimSpace(leafPEM), []byte("\n"), bytes.TrimSpace(rootsPEM), []byte("\n"))
	p, err := decodePair(raw, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if old != nil && (p.peer.Node != old.peer.Node || p.peer.Cluster != old.peer.Cluster) {
		return nil, fmt.Errorf("%s: the certificate is of node %s in cluster %s, and this is node %s in cluster %s",
			op, p.peer.Node, p.peer.Cluster, old.peer.Node, old.peer.Cluster)
	}
	return p, writeFile(filepath.Join(dir, certificateFile), raw)
}

// Replace saves a renewed certificate and roots, and uses them for the connections
// that begin from now on. Those that are open stay.
func (i *Identity) Replace(leafPEM, rootsPEM []byte) error {
	i.replace.Lock()
	defer i.replace.Unlock()
	p, err := save(i.dir, i.key, i.current.Load(), leafPEM, rootsPEM)
	if err != nil {
		return err
	}
	i.current.Store(p)
	return nil
}

// decodePair reads a node's certificate with the roots behind it, and checks that
// they belong together and to the key.
func decodePair(raw []byte, key *Key) (*pair, error) {
	certs, err := decodeCertificates(raw)
	if err != nil {
		return nil, err
	}
	if len(certs) < 2 {
		return nil, errors.New("it does not hold a certificate and its root")
	}
	p := &pair{leaf: certs[0], roots: certs[1:], pool: x509.NewCertPool()}
	if p.peer, err = PeerOf(p.leaf); err != nil {
		return nil, err
	}
	if !key.private.Public().(ed25519.PublicKey).Equal(p.leaf.PublicKey) {
		return nil, errors.New("its certificate is not for the key of this node")
	}
	for _, root := range p.roots {
		cluster, err := clusterOf(root)
		if err != nil {
			return nil, err
		}
		if cluster != p.peer.Cluster {
			return nil, fmt.Errorf("its certificate is of cluster %s, but it trusts a root of cluster %s", p.peer.Cluster, cluster)
		}
		p.pool.AddCert(root)
	}
	signer := slices.IndexFunc(p.roots, func(root *x509.Certificate) bool { return p.leaf.CheckSignatureFrom(root) == nil })
	if signer < 0 {
		return nil, errors.New("its certificate is not signed by one of its roots")
	}
	p.tls = &tls.Certificate{
		Certificate: [][]byte{p.leaf.Raw, p.roots[signer].Raw}, // the root too: a joiner compares it with its token
		PrivateKey:  key.private,
		Leaf:        p.leaf,
	}
	return p, nil
}

// decodeCertificates reads PEM that consists of certificates only.
func decodeCertificates(raw []byte) (certs []*x509.Certificate, err error) {
	for len(bytes.TrimSpace(raw)) > 0 {
		block, rest := pem.Decode(raw)
		if block == nil || block.Type != blockCertificate {
			return nil, errors.New("it does not consist of certificates")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("it holds a certificate that cannot be read: %w", err)
		}
		if certs = append(certs, cert); len(certs) > 1+maxRoots {
			return nil, errors.New("it holds too many certificates")
		}
		raw = rest
	}
	return certs, nil
}

// Peer returns who this node is.
func (i *Identity) Peer() Peer { return i.current.Load().peer }

// CSR returns the request for the next certificate, in DER.
func (i *Identity) CSR() []byte { return i.key.CSR() }

// RenewAt returns when to ask for the next certificate: after two thirds of the
// life of this one.
func (i *Identity) RenewAt() time.Time {
	leaf := i.current.Load().leaf
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 3 * 2)
}

// Expires returns when the certificate runs out.
func (i *Identity) Expires() time.Time { return i.current.Load().leaf.NotAfter }

// Roots returns the roots that this node trusts. The caller must not change them.
func (i *Identity) Roots() *x509.CertPool { return i.current.Load().pool }

// RootsPEM returns the same in PEM, the newest first.
func (i *Identity) RootsPEM() []byte {
	var all []byte
	for _, root := range i.current.Load().roots {
		all = append(all, encode(blockCertificate, root.Raw)...)
	}
	return all
}

// Certificate returns what the node shows to others: its certificate, and behind
// it the root that signed it.
func (i *Identity) Certificate() *tls.Certificate { return i.current.Load().tls }

// Format keeps the key out of every kind of print.
func (i *Identity) Format(f fmt.State, _ rune) { fmt.Fprint(f, "identity of node "+i.Peer().Node) }

// LogValue keeps the key out of logs.
func (i *Identity) LogValue() slog.Value {
	return slog.StringValue("identity of node " + i.Peer().Node)
}
