// Package identity is who a node is in its cluster: its key, the certificate that
// the cluster's authority gave it, and how others check that certificate.
//
// A node is known by its UUID alone. Addresses and names change, and prove nothing.
// What follows from being a member (whether it was removed, what it may do to the
// database) is decided elsewhere.
package identity

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/picloud/picloud"
)

// Role is what a node may do in its cluster.
type Role string

// The roles.
const (
	Manager Role = "manager" // may vote, and manage the cluster
	Node    Role = "node"    // serves functions
)

func (r Role) valid() bool { return r == Manager || r == Node }

// ValidID reports whether text is the UUID of a node or a cluster, as certificates have it.
func ValidID(text string) bool { return uuid.MatchString(text) }

// Peer is a node as its certificate names it.
type Peer struct {
	Cluster string // UUID of the cluster
	Node    string // UUID of the node
	Name    string // for people
	Role    Role
	Serial  string // of the certificate, in hexadecimal
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// The names in certificates are URIs: spiffe://CLUSTER in the root's, and in a
// node's spiffe://CLUSTER/node/NODE followed by spiffe://CLUSTER/role/ROLE.

func spiffe(cluster string, path ...string) *url.URL {
	u := &url.URL{Scheme: "spiffe", Host: cluster}
	if len(path) > 0 {
		u.Path = "/" + strings.Join(path, "/")
	}
	return u
}

func (p Peer) uris() []*url.URL {
	return []*url.URL{spiffe(p.Cluster, "node", p.Node), spiffe(p.Cluster, "role", string(p.Role))}
}

func (p Peer) check() error {
	switch {
	case !uuid.MatchString(p.Cluster):
		return errors.New("its cluster is no UUID")
	case !uuid.MatchString(p.Node):
		return errors.New("its node is no UUID")
	case !p.Role.valid():
		return errors.New("it has no role that is known here")
	case !picloud.ValidName(p.Name):
		return errors.New("it has no valid name")
	}
	return nil
}

// PeerOf reads whom a certificate names. It accepts what Authority.Sign writes and
// nothing else, but it does not check signature and time: Verify does.
func PeerOf(cert *x509.Certificate) (Peer, error) {
	none := func(why string) (Peer, error) {
		return Peer{}, fmt.Errorf("it is no certificate of a node: %s", why)
	}
	if cert.IsCA {
		return none("it is one of an authority")
	}
	if _, ok := cert.PublicKey.(ed25519.PublicKey); !ok {
		return none("its key is not Ed25519")
	}
	if len(cert.URIs) != 2 || cert.SerialNumber == nil {
		return none("it does not name a node and a role")
	}
	_, node, _ := strings.Cut(cert.URIs[0].Path, "/node/")
	_, role, _ := strings.Cut(cert.URIs[1].Path, "/role/")
	p := Peer{
		Cluster: cert.URIs[0].Host, Node: node, Name: cert.Subject.CommonName, Role: Role(role),
		Serial: cert.SerialNumber.Text(16),
	}
	if err := p.check(); err != nil {
		return none(err.Error())
	}
	for i, want := range p.uris() {
		if cert.URIs[i].String() != want.String() {
			return none("its names have another form")
		}
	}
	return p, nil
}
