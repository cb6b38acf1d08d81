package testdb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/postgres/store"
)

// Invite makes an invitation, and returns what shows it: all but the node.
func Invite(t testing.TB, db *store.DB, by picloud.Actor, role picloud.NodeRole, uses int, life time.Duration) fleet.Admission {
	t.Helper()
	id, secret := make([]byte, 8), sha256.Sum256([]byte(rand.Text()))
	rand.Read(id)
	_, err := db.Invitations().Create(t.Context(), by, picloud.Invitation{ID: hex.EncodeToString(id), Role: role, Uses: uses}, life, secret[:])
	require.NoError(t, err)
	return fleet.Admission{Invitation: id, Secret: secret[:]}
}

// Join makes nodes members of the cluster, and reports them.
func Join(t testing.TB, db *store.DB, by picloud.Actor, nodes ...picloud.Node) {
	t.Helper()
	a := Invite(t, db, by, picloud.RoleManager, len(nodes), time.Hour)
	for _, n := range nodes {
		key := sha256.Sum256([]byte(n.ID))
		a.KeyDigest, a.ID, a.Name, a.Version, a.Arch = key[:], n.ID, n.Name, n.Version, n.Arch
		_, err := db.Invitations().Admit(t.Context(), a)
		require.NoError(t, err)
		require.NoError(t, db.Nodes().Report(t.Context(), n))
	}
}

// Inviter makes invitations without a cluster, for tests of what asks for them.
type Inviter struct{ DB *store.DB }

// Invite makes an invitation. Its token says nothing.
func (i Inviter) Invite(ctx context.Context, actor picloud.Actor, inv picloud.Invitation, life time.Duration) (made picloud.Invitation, token, address string, err error) {
	id, secret := make([]byte, 8), sha256.Sum256([]byte(rand.Text()))
	rand.Read(id)
	inv.ID = hex.EncodeToString(id)
	made, err = i.DB.Invitations().Create(ctx, actor, inv, life, secret[:])
	return made, "PCT1.TOKEN", "pi-1.local:7947", err
}

// Alone is the state of a cluster of one.
type Alone struct{}

// ClusterState returns it.
func (Alone) ClusterState(context.Context) (picloud.ClusterState, error) {
	return picloud.ClusterState{ID: "c", Name: "home", Manager: "pi-1", Voters: []string{}, Standbys: []string{}, Nodes: 1, Alive: 1, Database: "pi-1", Dumps: []picloud.Dump{}}, nil
}

// Unmanaged says that a cluster of one has a manager.
func (Alone) Unmanaged() (by, trouble, hint string) { return "", "", "" }
