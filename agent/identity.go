package agent

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/machine"
)

// nodeID is who this node is, for ever: data/node.json.
type nodeID struct {
	ID string `json:"id"` // UUID version 4

	// place is where the node runs: a digest of the machine and the data folder. A copy
	// of the folder has another one.
	place string
}

// loadIdentity reads the node's identity, or makes it on first start.
func loadIdentity(dataDir string) (nodeID, error) {
	path := filepath.Join(dataDir, "node.json")
	var id nodeID
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &id); err == nil && id.ID != "" {
			return id, nil
		}
		// A damaged file names nobody: keep it for inspection and start afresh,
		// as a node without identity can serve but never report.
		if err := os.Rename(path, path+".bad"); err != nil {
			return id, fmt.Errorf("set damaged %s aside: %w", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return id, fmt.Errorf("read node identity: %w", err)
	}
	id.ID = newUUID()
	raw, err = json.Marshal(id)
	if err != nil {
		return id, err
	}
	return id, datadir.WriteFile(path, raw)
}

// placeOf returns the place of a data folder. It stays the same over restarts, also those
// of the machine.
func placeOf(dataDir string) string {
	where := machine.Hardware() + "\x00" + dataDir
	if info, err := os.Stat(dataDir); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			where += fmt.Sprintf("\x00%d", stat.Ino)
		}
	}
	sum := sha256.Sum256([]byte(where))
	return hex.EncodeToString(sum[:16])
}

// newUUID returns a random UUID, version 4 of RFC 9562.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// DefaultNodeName makes a valid node name of the machine's host name.
func DefaultNodeName() string {
	host, err := os.Hostname()
	if err != nil {
		return "node"
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, host)
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		name = "node-" + strings.TrimLeft(name, "-")
	}
	name = strings.TrimRight(name[:min(len(name), picloud.MaxNameLength)], "-")
	return name
}
