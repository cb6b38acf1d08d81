package module

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzPublicKey holds our reading of keys against crypto/x509: what we take, it
// takes too, for the same key.
func FuzzPublicKey(f *testing.F) {
	for _, public := range publicKeys(f) {
		b, err := x509.MarshalPKIXPublicKey(public)
		require.NoError(f, err)
		f.Add(b)
	}
	sum := sha256.Sum256(nil)
	f.Add(sum[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := keyOfSPKI(b)
		if err != nil {
			return
		}
		want, err := x509.ParsePKIXPublicKey(b)
		if err != nil {
			return // x509 asks for minimal lengths and parameters, which decide nothing
		}
		require.True(t, want.(interface{ Equal(crypto.PublicKey) bool }).Equal(key), "%x", b)
	})
}

// publicKeys makes a key of each kind that crypto.verify takes.
func publicKeys(t testing.TB) []crypto.PublicKey {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	all := []crypto.PublicKey{&rsaKey.PublicKey, edKey}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		all = append(all, &key.PublicKey)
	}
	return all
}
