package cluster

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clusterID = "0b0b5a2e-9d1c-4d6e-8f5e-0d6a4c1b2a30"
	nodeID    = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11"
	otherID   = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12"
)

// member is a member of a cluster of two; the other one does not answer.
func member(t *testing.T, gossip string, o Options) *Cluster {
	t.Helper()
	free := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}
	o.Dir, o.Node, o.Name, o.Bind, o.Port, o.GossipPort = t.TempDir(), nodeID, "pi-1", "127.0.0.1", free(), free()
	c, err := Open(o)
	require.NoError(t, err)
	authority, err := identity.NewAuthority(clusterID, time.Now())
	require.NoError(t, err)
	csr, err := c.Request()
	require.NoError(t, err)
	leaf, err := authority.Sign(identity.Request{Node: nodeID, Name: "pi-1", Role: identity.Manager, CSR: csr}, time.Now())
	require.NoError(t, err)
	require.NoError(t, c.Enter(State{
		Cluster: clusterID, Name: "home", Address: "127.0.0.1:7947", GossipKeys: [][]byte{make([]byte, 32)}, GossipRev: 1,
		Members: []join.Member{{Node: otherID, Name: "pi-2", Role: picloud.RoleManager, Address: "127.0.0.1:1", Gossip: gossip}},
	}, leaf, authority.Certificate()))
	return c
}

// TestNoGossipWithOldKeys: a node that starts speaks to nobody before it has the present keys
// or has tried to get them.
func TestNoGossipWithOldKeys(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer peer.Close()
	called := make(chan struct{}, 16)
	go func() {
		for {
			conn, err := peer.Accept()
			if err != nil {
				return
			}
			conn.Close()
			called <- struct{}{}
		}
	}()
	asked, release := make(chan struct{}), make(chan struct{})
	c := member(t, peer.Addr().String(), Options{CatchUp: func(ctx context.Context) {
		close(asked)
		select {
		case <-release:
		case <-ctx.Done():
		}
	}})
	require.NoError(t, c.Start(Services{}))
	defer c.Stop()
	<-asked
	select {
	case <-called:
		t.Fatal("it speaks to the other node already")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	select {
	case <-called:
	case <-time.After(10 * time.Second):
		t.Fatal("it speaks to nobody")
	}
}

// TestNewerKeysAreTaken: and kept on disk, with the nodes that must not have them. Older ones
// are not.
func TestNewerKeysAreTaken(t *testing.T) {
	c := member(t, "127.0.0.1:1", Options{})
	fresh := [][]byte{{31: 1}}
	require.NoError(t, c.UseRing(Ring{Keys: fresh, Rev: 4, Removed: []string{otherID}}))
	require.NoError(t, c.UseRing(Ring{Keys: [][]byte{{31: 2}}, Rev: 4}))
	require.True(t, c.refused(otherID))
	again, err := Open(c.o)
	require.NoError(t, err)
	require.Equal(t, Ring{Keys: fresh, Rev: 4, Removed: []string{otherID}}, again.Ring())
	require.True(t, again.refused(otherID), "without the database too")
	require.False(t, again.Removed())
	require.NoError(t, again.UseRing(Ring{Keys: fresh, Rev: 5, Removed: []string{nodeID}}))
	require.True(t, again.Removed())
	again.Learn(nil, []string{otherID})
	require.False(t, again.Removed(), "the database knows better")
}
