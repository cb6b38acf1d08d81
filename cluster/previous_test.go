package cluster

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/previous"
)

// TestStateOfTheVersionBefore: the folder of a member, and the keys of the gossip that it asks
// other nodes for.
func TestStateOfTheVersionBefore(t *testing.T) {
	previous.JSON(t, "cluster.json", State{
		Cluster: clusterID, Name: "home", Address: "10.0.0.1:7947", Database: join.Database{Host: otherID, Role: "picloud_n_1"},
		GossipKeys: [][]byte{[]byte("first"), []byte("second")}, GossipRev: 2,
		Members: []join.Member{{Node: otherID, Name: "pi-2", Role: picloud.RoleManager, Address: "10.0.0.2:7947", Gossip: "10.0.0.2:7946"}},
		Removed: []string{nodeID},
	}, func(raw []byte) (State, error) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, stateFile), raw, 0o600))
		return readState(dir)
	})
	previous.JSON(t, "ring.json", Ring{Keys: [][]byte{[]byte("first")}, Rev: 2, Removed: []string{nodeID}}, func(raw []byte) (r Ring, err error) {
		err = json.Unmarshal(raw, &r)
		return r, err
	})
}
