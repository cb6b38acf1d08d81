package caddymodule

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
)

// TestAnUnusableCAIsPutAside: Caddy refuses to start with a root that ran out, as boards without a
// clock make it, and with one that a power cut left half.
func TestAnUnusableCAIsPutAside(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	cert := func(until time.Time) []byte {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: until, IsCA: true}
		raw, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("key")})
	good := map[string][]byte{
		"root.crt": cert(now.AddDate(10, 0, 0)), "root.key": private, "intermediate.crt": cert(now.AddDate(0, 0, -1)), "intermediate.key": private,
	}
	for name, c := range map[string]struct {
		file    string
		content []byte
		aside   bool
	}{
		"whole, with an intermediate that Caddy renews": {},
		"from 1970":                     {"root.crt", cert(time.Unix(0, 0).AddDate(10, 0, 0)), true},
		"soon over":                     {"root.crt", cert(now.AddDate(0, 0, 20)), true},
		"the power failed at the root":  {"root.key", nil, true},
		"a torn key":                    {"intermediate.key", private[:20], true},
		"an empty certificate":          {"intermediate.crt", []byte{}, true},
		"a certificate that was cut":    {"root.crt", good["root.crt"][:100], true},
		"a certificate that is no such": {"root.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), true},
	} {
		t.Run(name, func(t *testing.T) {
			h := home{}
			h.DataDir = t.TempDir()
			require.NoError(t, h.retireCA(now), "there is none yet")
			require.NoError(t, os.MkdirAll(h.ownCA(), 0o700))
			for file, content := range good {
				if file == c.file {
					content = c.content
				}
				if content != nil {
					require.NoError(t, os.WriteFile(filepath.Join(h.ownCA(), file), content, 0o600))
				}
			}
			require.NoError(t, h.retireCA(now))
			_, err := os.Stat(h.ownCA())
			require.Equal(t, c.aside, os.IsNotExist(err))
		})
	}
}

// TestAStartLooksAtTheCA before Caddy does.
func TestAStartLooksAtTheCA(t *testing.T) {
	listen, storage, autosave := caddy.DefaultAdminListen, caddy.DefaultStorage, caddy.ConfigAutosavePath
	t.Cleanup(func() {
		caddy.DefaultAdminListen, caddy.DefaultStorage, caddy.ConfigAutosavePath = listen, storage, autosave
	})
	t.Setenv("XDG_DATA_HOME", "") // it is put back at the end
	h := home{}
	h.DataDir = t.TempDir()
	require.NoError(t, os.MkdirAll(h.ownCA(), 0o700)) // without its files
	require.NoError(t, h.furnish())
	require.NoDirExists(t, h.ownCA())
}
