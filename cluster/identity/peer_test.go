package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// named is a certificate with the names alone.
func named(t testing.TB, name string, uris ...string) *x509.Certificate {
	t.Helper()
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(255), PublicKey: make(ed25519.PublicKey, 32)}
	for _, text := range uris {
		u, err := url.Parse(text)
		if err != nil {
			return nil
		}
		cert.URIs = append(cert.URIs, u)
	}
	return cert
}

func TestPeerOfIsStrict(t *testing.T) {
	node, role := "spiffe://"+clusterA+"/node/"+node1, "spiffe://"+clusterA+"/role/manager"
	peer, err := PeerOf(named(t, "pi-1", node, role))
	require.NoError(t, err)
	require.Equal(t, Peer{Cluster: clusterA, Node: node1, Name: "pi-1", Role: Manager, Serial: "ff"}, peer)
	for why, cert := range map[string]*x509.Certificate{
		"no URI":            named(t, "pi-1"),
		"no role":           named(t, "pi-1", node),
		"a third":           named(t, "pi-1", node, role, role),
		"wrong order":       named(t, "pi-1", role, node),
		"two clusters":      named(t, "pi-1", node, "spiffe://"+clusterB+"/role/manager"),
		"unknown role":      named(t, "pi-1", node, "spiffe://"+clusterA+"/role/root"),
		"other scheme":      named(t, "pi-1", strings.Replace(node, "spiffe", "https", 1), role),
		"user":              named(t, "pi-1", strings.Replace(node, "//", "//root@", 1), role),
		"port":              named(t, "pi-1", strings.Replace(node, "/node", ":1/node", 1), role),
		"query":             named(t, "pi-1", node+"?x", role),
		"fragment":          named(t, "pi-1", node+"#x", role),
		"capitals":          named(t, "pi-1", strings.Replace(node, clusterA, strings.ToUpper(clusterA), 1), role),
		"longer path":       named(t, "pi-1", strings.Replace(node, "/node", "/x/node", 1), role),
		"escaped":           named(t, "pi-1", strings.Replace(node, "/node", "/%6eode", 1), role),
		"cluster is a name": named(t, "pi-1", "spiffe://home/node/"+node1, "spiffe://home/role/manager"),
		"no name":           named(t, "", node, role),
		"name of two lines": named(t, "pi-1\nroot", node, role),
	} {
		_, err := PeerOf(cert)
		require.Error(t, err, why)
	}
	ca := named(t, "pi-1", node, role)
	ca.IsCA = true
	_, err = PeerOf(ca)
	require.ErrorContains(t, err, "authority")
	other := named(t, "pi-1", node, role)
	other.PublicKey = nil
	_, err = PeerOf(other)
	require.ErrorContains(t, err, "Ed25519")
}

// FuzzPeerOfNames: whoever is accepted is who Sign would have written.
func FuzzPeerOfNames(f *testing.F) {
	f.Add("pi-1", "spiffe://"+clusterA+"/node/"+node1, "spiffe://"+clusterA+"/role/node")
	f.Add("pi-1", "spiffe://"+clusterA+"/node/"+node1+"/node/x", "spiffe:"+clusterA+"/role/node")
	f.Fuzz(func(t *testing.T, name, node, role string) {
		cert := named(t, name, node, role)
		if cert == nil {
			return
		}
		peer, err := PeerOf(cert)
		if err != nil {
			return
		}
		require.NoError(t, peer.check())
		require.Equal(t, name, peer.Name)
		require.Equal(t, "spiffe://"+peer.Cluster+"/node/"+peer.Node, cert.URIs[0].String())
		require.Equal(t, "spiffe://"+peer.Cluster+"/role/"+string(peer.Role), cert.URIs[1].String())
	})
}

// FuzzPeerOf: no certificate of a stranger does harm, and none passes Verify.
func FuzzPeerOf(f *testing.F) {
	a := authority(f, clusterA)
	dir := f.TempDir()
	leaf := enrol(f, a, dir, node1, Node, now)
	require.NoError(f, Save(dir, leaf, a.Certificate()))
	i, err := Load(dir)
	require.NoError(f, err)
	member := certificate(f, leaf)
	f.Add(member.Raw)
	f.Add(certificate(f, a.Certificate()).Raw)
	f.Add(certificate(f, enrol(f, authority(f, clusterB), f.TempDir(), node2, Node, now)).Raw)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(f, err)
	template := *member
	template.PublicKey = private.Public()
	self, err := x509.CreateCertificate(rand.Reader, &template, &template, private.Public(), private)
	require.NoError(f, err)
	f.Add(self)
	f.Fuzz(func(t *testing.T, der []byte) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		peer, err := PeerOf(cert)
		if err == nil {
			require.NoError(t, peer.check())
		}
		if _, err := i.Verify([]*x509.Certificate{cert}, x509.ExtKeyUsageClientAuth, now); err == nil {
			require.Equal(t, member.RawTBSCertificate, cert.RawTBSCertificate, "only what the authority signed is believed")
		}
		_, _ = VerifyPinned([]*x509.Certificate{cert, cert}, a.Pin(), now)
	})
}
