package cluster

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/cluster/identity"
)

// TestOnlyWhoMayManageIsBelieved: a member that serves functions only cannot make the others
// run its code, nor can a node that was removed, one whose certificate ran out, or one of
// another cluster.
func TestOnlyWhoMayManageIsBelieved(t *testing.T) {
	now := time.Now()
	authority, err := identity.NewAuthority(clusterID, now)
	require.NoError(t, err)
	node := func(a *identity.Authority, id string, role identity.Role, at time.Time, now func() time.Time) *Cluster {
		t.Helper()
		c, err := Open(Options{Dir: t.TempDir(), Node: id, Name: "pi-1", Now: now})
		require.NoError(t, err)
		csr, err := c.Request()
		require.NoError(t, err)
		leaf, err := a.Sign(identity.Request{Node: id, Name: "pi-1", Role: role, CSR: csr}, at)
		require.NoError(t, err)
		require.NoError(t, c.Enter(State{Cluster: a.Cluster(), GossipKeys: [][]byte{make([]byte, 32)}, GossipRev: 1}, leaf, a.Certificate()))
		return c
	}
	clock := func() time.Time { return now }
	reader := node(authority, nodeID, identity.Node, now, clock)
	manager := node(authority, otherID, identity.Manager, now, nil)
	message := []byte("the catalog")

	good, ok := manager.Sign("catalog", message)
	require.True(t, ok)
	require.NoError(t, reader.Verify("catalog", message, good))
	require.ErrorContains(t, reader.Verify("catalog", []byte("the catalog!"), good), "is not of node pi-1")
	require.ErrorContains(t, reader.Verify("ring", message, good), "is not of node pi-1", "signed as something else")
	bad := good
	bad.Signature = bytes.Clone(good.Signature)
	bad.Signature[3] ^= 1
	require.Error(t, reader.Verify("catalog", message, bad))
	for _, form := range []identity.Signature{{}, {Certificate: good.Certificate}, {Signature: good.Signature}, {Certificate: make([]byte, 1<<20), Signature: good.Signature}} {
		require.Error(t, reader.Verify("catalog", message, form))
	}

	_, ok = reader.Sign("catalog", message)
	require.False(t, ok, "it knows that nobody believes it")
	require.ErrorContains(t, manager.Verify("catalog", message, reader.identity.Sign("catalog", message)), "serves functions only")
	stolen := reader.identity.Sign("catalog", message)
	stolen.Certificate = good.Certificate // another's certificate with its own key
	require.ErrorContains(t, manager.Verify("catalog", message, stolen), "is not of node")

	foreign, err := identity.NewAuthority("0b0b5a2e-9d1c-4d6e-8f5e-0d6a4c1b2a31", now)
	require.NoError(t, err)
	stranger := node(foreign, otherID, identity.Manager, now, nil)
	strange, _ := stranger.Sign("catalog", message)
	require.ErrorIs(t, reader.Verify("catalog", message, strange), identity.ErrStranger)

	reader.Learn(nil, []string{otherID})
	require.ErrorContains(t, reader.Verify("catalog", message, good), "was removed")
	reader.Learn(nil, nil)
	require.NoError(t, reader.Verify("catalog", message, good))
	now = now.Add(200 * 24 * time.Hour)
	require.ErrorIs(t, reader.Verify("catalog", message, good), identity.ErrExpired)

	alone, err := Open(Options{Dir: t.TempDir(), Node: nodeID, Name: "pi-3"})
	require.NoError(t, err)
	_, ok = alone.Sign("catalog", message)
	require.False(t, ok)
	require.Error(t, alone.Verify("catalog", message, good))
}

// BenchmarkSign is what a catalog of 10 KB costs the node that hands it over.
func BenchmarkSign(b *testing.B) {
	authority, err := identity.NewAuthority(clusterID, time.Now())
	require.NoError(b, err)
	c, err := Open(Options{Dir: b.TempDir(), Node: nodeID, Name: "pi-1"})
	require.NoError(b, err)
	csr, err := c.Request()
	require.NoError(b, err)
	leaf, err := authority.Sign(identity.Request{Node: nodeID, Name: "pi-1", Role: identity.Manager, CSR: csr}, time.Now())
	require.NoError(b, err)
	require.NoError(b, c.Enter(State{Cluster: clusterID, GossipKeys: [][]byte{make([]byte, 32)}, GossipRev: 1}, leaf, authority.Certificate()))
	message := make([]byte, 10<<10)
	for b.Loop() {
		if _, ok := c.Sign("catalog", message); !ok {
			b.Fatal("not signed")
		}
	}
}
