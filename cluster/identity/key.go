package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// The files of an identity, in the cluster's folder of a node.
const (
	keyFile         = "node.key" // PKCS #8, never leaves the node
	certificateFile = "node.crt" // the node's certificate, and behind it the roots that it trusts
)

// maxFile bounds what is read of either file.
const maxFile = 64 << 10

// writeFile is replaced by the test of power cuts.
var writeFile = datadir.WriteFile

// Key is the private key of a node. It prints as its kind only.
type Key struct {
	private ed25519.PrivateKey
	csr     []byte
}

func newKey(private ed25519.PrivateKey) (*Key, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return &Key{private: private, csr: csr}, nil
}

// CSR returns the request for a certificate, in DER. It proves that the sender has
// the key; the names of the certificate are the authority's to give.
func (k *Key) CSR() []byte { return k.csr }

// Format keeps the key out of every kind of print.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "key of the node") }

// LogValue keeps the key out of logs.
func (k *Key) LogValue() slog.Value { return slog.StringValue("key of the node") }

// MakeOrLoadKey returns the key that is kept in dir. At first it makes both, the
// folder with mode 0700.
func MakeOrLoadKey(dir string) (*Key, error) {
	key, err := loadKey(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, err := os.Lstat(filepath.Join(dir, certificateFile)); err == nil {
		return nil, damaged(filepath.Join(dir, keyFile), "it is missing, but its certificate is there")
	}
	if err := datadir.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("make folder of the cluster: %w", err)
	}
	if err := datadir.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the node: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("make key of the node: %w", err)
	}
	if err := writeFile(filepath.Join(dir, keyFile), encode(blockKey, der)); err != nil {
		return nil, err
	}
	return newKey(private)
}

func loadKey(dir string) (*Key, error) {
	path := filepath.Join(dir, keyFile)
	raw, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != blockKey || len(rest) > 0 {
		return nil, damaged(path, "it holds no private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, damaged(path, "it holds no Ed25519 key")
	}
	return newKey(private)
}

// The kinds of PEM blocks.
const (
	blockKey         = "PRIVATE KEY"
	blockCertificate = "CERTIFICATE"
)

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// readPrivate reads a small file that nobody else may read.
func readPrivate(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read node identity: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read node identity: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, damaged(path, "it is not a file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "read node identity", Resource: path,
			Detail: fmt.Sprintf("it has mode %o: others on this machine can read or change it", mode), Hint: "chmod 600 " + path,
		}
	}
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read node identity %s: %w", path, err)
	}
	if len(raw) > maxFile {
		return nil, damaged(path, "it is too large")
	}
	return raw, nil
}

// damaged explains a file that nothing can be done with.
func damaged(path, detail string) error {
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "read node identity", Resource: path, Detail: detail,
		Hint: "bring the folder back from a backup, or run `picloud node reset` and join the cluster again with a new token",
	}
}
