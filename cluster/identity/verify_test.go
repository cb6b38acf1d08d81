package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/cluster/token"
)

func TestVerify(t *testing.T) {
	a, b := authority(t, clusterA), authority(t, clusterB)
	dir := t.TempDir()
	require.NoError(t, Save(dir, enrol(t, a, dir, node1, Manager, now), a.Certificate()))
	i, err := Load(dir)
	require.NoError(t, err)

	member := certificate(t, enrol(t, a, t.TempDir(), node2, Node, now))
	foreign := certificate(t, enrol(t, b, t.TempDir(), node2, Node, now))
	impostor := certificate(t, enrol(t, authority(t, clusterA), t.TempDir(), node2, Node, now))
	root := certificate(t, a.Certificate())
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	serverOnly := *member
	serverOnly.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, &serverOnly, root, private.Public(), a.key)
	require.NoError(t, err)
	halfUse, err := x509.ParseCertificate(der)
	require.NoError(t, err)

	for _, c := range []struct {
		name  string
		shown []*x509.Certificate
		at    time.Time
		want  error
		text  string
	}{
		{"member", []*x509.Certificate{member}, now, nil, ""},
		{"member with its root", []*x509.Certificate{member, root}, now, nil, ""},
		{"nothing", nil, now, ErrStranger, "no certificate"},
		{"other cluster", []*x509.Certificate{foreign}, now, ErrStranger, clusterB},
		{"other cluster that brings its root", []*x509.Certificate{foreign, certificate(t, b.Certificate())}, now, ErrStranger, clusterB},
		{"same names, other root", []*x509.Certificate{impostor}, now, ErrStranger, node2},
		{"the root itself", []*x509.Certificate{root}, now, ErrStranger, "authority"},
		{"a member behind a stranger", []*x509.Certificate{foreign, member}, now, ErrStranger, clusterB},
		{"for other use", []*x509.Certificate{halfUse}, now, ErrStranger, "usage"},
		{"last second", []*x509.Certificate{member}, now.Add(nodeLife), nil, ""},
		{"ran out", []*x509.Certificate{member}, now.Add(nodeLife + time.Second), ErrExpired, "2027-08-28"},
		{"ran out, of another cluster", []*x509.Certificate{foreign}, now.Add(nodeLife * 2), ErrStranger, clusterB},
		{"this node's clock is behind", []*x509.Certificate{member}, time.Unix(0, 0), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer, err := i.Verify(c.shown, x509.ExtKeyUsageClientAuth, c.at)
			require.ErrorIs(t, err, c.want)
			if c.want == nil {
				require.Equal(t, node2, peer.Node)
			} else {
				require.ErrorContains(t, err, c.text)
				require.Zero(t, peer)
			}
		})
	}
}

func TestVerifyPinned(t *testing.T) {
	a, b := authority(t, clusterA), authority(t, clusterB)
	leaf := certificate(t, enrol(t, a, t.TempDir(), node1, Manager, now))
	root, other := certificate(t, a.Certificate()), certificate(t, b.Certificate())
	peer, err := VerifyPinned([]*x509.Certificate{leaf, root}, a.Pin(), now)
	require.NoError(t, err)
	require.Equal(t, node1, peer.Node)
	for name, shown := range map[string][]*x509.Certificate{
		"no root":                     {leaf},
		"another's root":              {leaf, other},
		"pinned root, foreign leaf":   {certificate(t, enrol(t, b, t.TempDir(), node1, Manager, now)), root},
		"pinned root shown as itself": {root},
		"pinned root as leaf":         {root, root},
		"nothing":                     nil,
	} {
		_, err := VerifyPinned(shown, a.Pin(), now)
		require.ErrorIs(t, err, ErrStranger, name)
	}
	_, err = VerifyPinned([]*x509.Certificate{leaf, root}, token.PinOf(leaf), now)
	require.ErrorIs(t, err, ErrStranger, "a node is no authority, even if its own key is pinned")
	_, err = VerifyPinned([]*x509.Certificate{leaf, root}, a.Pin(), now.Add(nodeLife*2))
	require.ErrorIs(t, err, ErrExpired)
	_, err = VerifyPinned([]*x509.Certificate{leaf, root}, a.Pin(), time.Unix(0, 0))
	require.NoError(t, err, "a board without a clock joins")
}
