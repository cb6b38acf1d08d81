package seal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// FileName is the key's file in a node's data folder.
const FileName = "cluster.key"

// prefix starts the file's only line; the key follows in hexadecimal.
const prefix = "picloud-cluster-key-1:"

// Path is where a node keeps the cluster's key.
func Path(dataDir string) string { return filepath.Join(dataDir, FileName) }

// Load reads the key of a node. A missing file is fs.ErrNotExist; a file that
// others can read, or that holds no key, is an error with a remedy.
func Load(dataDir string) (*ClusterKey, error) {
	const op = "read cluster key"
	path := Path(dataDir)
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	bad := func(detail, hint string) error {
		return &picloud.Error{Code: picloud.CodeSecrets, Op: op, Resource: path, Detail: detail, Hint: hint}
	}
	if !info.Mode().IsRegular() {
		return nil, bad("it is not a file", "copy "+FileName+" from a node that has it")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, bad(fmt.Sprintf("it has mode %o: others on this machine can read or change it", mode), "chmod 600 "+path)
	}
	raw, err := io.ReadAll(io.LimitReader(file, 256))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	key, ok := parse(string(raw))
	if !ok {
		return nil, bad("it does not hold the key of a cluster", "copy "+FileName+" from a node that has it, or from your backup")
	}
	return key, nil
}

func parse(text string) (*ClusterKey, bool) {
	digits, ok := strings.CutPrefix(strings.TrimSpace(text), prefix)
	var raw [keySize]byte
	if !ok || len(digits) != hex.EncodedLen(keySize) {
		return nil, false
	}
	if _, err := hex.Decode(raw[:], []byte(digits)); err != nil {
		return nil, false
	}
	return newClusterKey(raw), true
}

// Save writes the key durably into a node's data folder. It never replaces a file,
// because the secrets that the old key seals would be lost. A file that exists is
// fs.ErrExist.
func (k *ClusterKey) Save(dataDir string) error {
	path := Path(dataDir)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("save cluster key %s: %w", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save cluster key: %w", err)
	}
	return datadir.WriteFile(path, []byte(k.Text()))
}
