package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud/cluster/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clusterA = "aaaaaaaa-0000-4000-8000-000000000000"
	clusterB = "bbbbbbbb-0000-4000-8000-000000000000"
	node1    = "11111111-0000-4000-8000-000000000000"
	node2    = "22222222-0000-4000-8000-000000000000"
)

var now = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

func authority(t testing.TB, cluster string) *Authority {
	t.Helper()
	a, err := NewAuthority(cluster, now)
	require.NoError(t, err)
	return a
}

// enrol gives the key in dir a certificate.
func enrol(t testing.TB, a *Authority, dir, node string, role Role, at time.Time) []byte {
	t.Helper()
	key, err := MakeOrLoadKey(dir)
	require.NoError(t, err)
	leaf, err := a.Sign(Request{Node: node, Name: "pi-1", Role: role, CSR: key.CSR()}, at)
	require.NoError(t, err)
	return leaf
}

func certificate(t testing.TB, pem []byte) *x509.Certificate {
	t.Helper()
	certs, err := decodeCertificates(pem)
	require.NoError(t, err)
	require.Len(t, certs, 1)
	return certs[0]
}

func TestAuthoritySurvivesBeingKept(t *testing.T) {
	a := authority(t, clusterA)
	b, err := OpenAuthority(a.Certificate(), a.KeyDER())
	require.NoError(t, err)
	require.Equal(t, clusterA, b.Cluster())
	require.Equal(t, a.Pin(), b.Pin())
	require.Equal(t, token.PinOf(certificate(t, a.Certificate())), a.Pin())

	other := authority(t, clusterA)
	_, err = OpenAuthority(a.Certificate(), other.KeyDER())
	require.ErrorContains(t, err, "not the one of its certificate")
	_, err = OpenAuthority(a.Certificate(), []byte("x"))
	require.ErrorContains(t, err, "key cannot be read")
	_, err = OpenAuthority([]byte("x"), a.KeyDER())
	require.ErrorContains(t, err, "certificate cannot be read")
	_, err = NewAuthority("home", now)
	require.ErrorContains(t, err, "no UUID")
	leaf := enrol(t, a, t.TempDir(), node1, Node, now)
	_, err = OpenAuthority(leaf, a.KeyDER())
	require.ErrorContains(t, err, "no root of a cluster")
}

func TestSignedCertificate(t *testing.T) {
	a := authority(t, clusterA)
	cert := certificate(t, enrol(t, a, t.TempDir(), node1, Manager, now))
	peer, err := PeerOf(cert)
	require.NoError(t, err)
	require.Equal(t, Peer{Cluster: clusterA, Node: node1, Name: "pi-1", Role: Manager, Serial: cert.SerialNumber.Text(16)}, peer)
	require.Equal(t, now.Add(-48*time.Hour), cert.NotBefore)
	require.Equal(t, now.Add(180*24*time.Hour), cert.NotAfter)
	require.False(t, cert.IsCA)
	require.Empty(t, cert.DNSNames)
	require.NoError(t, cert.CheckSignatureFrom(certificate(t, a.Certificate())))

	late := certificate(t, enrol(t, a, t.TempDir(), node1, Node, now.Add(authorityLife-time.Hour)))
	require.Equal(t, now.Add(authorityLife), late.NotAfter, "a certificate does not outlive its root")
	early := certificate(t, enrol(t, a, t.TempDir(), node1, Node, now.Add(-time.Hour)))
	require.Equal(t, now.Add(-backdate), early.NotBefore, "nor is it older")
}

// What a request says of itself counts for nothing.
func TestNamesComeFromTheRequestOnly(t *testing.T) {
	a := authority(t, clusterA)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	lie := &url.URL{Scheme: "spiffe", Host: clusterA, Path: "/node/" + node2}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{lie}, DNSNames: []string{"pi-1.local"}}, private)
	require.NoError(t, err)
	leaf, err := a.Sign(Request{Node: node1, Name: "pi-1", Role: Node, CSR: csr}, now)
	require.NoError(t, err)
	peer, err := PeerOf(certificate(t, leaf))
	require.NoError(t, err)
	require.Equal(t, node1, peer.Node)
	require.Empty(t, certificate(t, leaf).DNSNames)
}

func TestSignRefuses(t *testing.T) {
	a := authority(t, clusterA)
	key, err := MakeOrLoadKey(t.TempDir())
	require.NoError(t, err)
	forged := append([]byte(nil), key.CSR()...)
	forged[len(forged)-1] ^= 1
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, curve)
	require.NoError(t, err)
	own, err := newKey(a.key)
	require.NoError(t, err)
	good := Request{Node: node1, Name: "pi-1", Role: Node, CSR: key.CSR()}
	for want, change := range map[string]func(*Request){
		"node is no UUID":     func(r *Request) { r.Node = "pi-1" },
		"no role":             func(r *Request) { r.Role = "root" },
		"no valid name":       func(r *Request) { r.Name = "Pi 1\n" },
		"not signed with its": func(r *Request) { r.CSR = forged },
		"not Ed25519":         func(r *Request) { r.CSR = other },
		"cannot be read":      func(r *Request) { r.CSR = nil },
		"too large":           func(r *Request) { r.CSR = make([]byte, maxRequest+1) },
		"authority's own":     func(r *Request) { r.CSR = own.CSR() },
	} {
		request := good
		change(&request)
		_, err := a.Sign(request, now)
		require.ErrorContains(t, err, want)
	}
	_, err = a.Sign(good, now.Add(authorityLife))
	require.ErrorContains(t, err, "ran out on 2037")
}

// Keys come into no print of the type that holds them.
func TestNothingPrintsAKey(t *testing.T) {
	a := authority(t, clusterA)
	dir := t.TempDir()
	require.NoError(t, Save(dir, enrol(t, a, dir, node1, Node, now), a.Certificate()))
	i, err := Load(dir)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		require.Equal(t, "authority of cluster "+clusterA, fmt.Sprintf(verb, a))
		require.Equal(t, "key of the node", fmt.Sprintf(verb, i.key))
		require.Equal(t, "identity of node "+node1, fmt.Sprintf(verb, i))
	}
	require.Equal(t, "identity of node "+node1, i.LogValue().String())
	require.Equal(t, "authority of cluster "+clusterA, a.LogValue().String())
	require.Equal(t, "key of the node", i.key.LogValue().String())
}
