package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/datadir"
)

// stateFile is what a member keeps of its cluster, beside its key and its certificate.
// It holds secrets.
const stateFile = "cluster.json"

// clockFile holds the latest time that the node has seen.
const clockFile = "clock"

// maxState bounds the file, in bytes: 1,000 members have a fifth of it.
const maxState = 1 << 20

// State is what a member has to know in order to find the others again.
type State struct {
	Cluster string `json:"cluster"` // UUID
	Name    string `json:"name"`    // of the cluster, for people
	// Address is host:port of the node's own cluster port, as others use it.
	Address  string        `json:"address"`
	Database join.Database `json:"database"`
	// GossipKeys encrypt the gossip, the primary key first; GossipRev counts their changes.
	GossipKeys [][]byte `json:"gossip_keys"`
	GossipRev  int      `json:"gossip_rev"`
	// Members are the other nodes as they were last known.
	Members []join.Member `json:"members"`
	// Removed are the ids of nodes that nobody talks to any more.
	Removed []string `json:"removed"`
}

// readState reads the state of a folder. A missing file is fs.ErrNotExist.
func readState(dir string) (s State, err error) {
	path := filepath.Join(dir, stateFile)
	info, err := os.Stat(path)
	if err != nil {
		return s, fmt.Errorf("read state of the cluster: %w", err)
	}
	if info.Size() > maxState {
		return s, damaged(path, errors.New("it is too large"))
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("read state of the cluster: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, damaged(path, err)
	}
	if s.Cluster == "" || len(s.GossipKeys) == 0 {
		return s, damaged(path, errors.New("it names no cluster"))
	}
	return s, nil
}

// write replaces the state of a folder.
func (s State) write(dir string) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write state of the cluster: %w", err)
	}
	return datadir.WriteFile(filepath.Join(dir, stateFile), raw)
}

func damaged(path string, cause error) error {
	return &picloud.Error{
		Code: picloud.CodeInternal, Op: "read state of the cluster", Resource: path, Detail: "the file is damaged", Err: cause,
		Hint: "bring the folder back from a backup, or run `picloud node reset` and join the cluster again with a new token",
	}
}

// missing reports whether an error says that there is no file.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
