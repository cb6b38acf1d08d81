package cluster

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/gossip"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/cluster/port"
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

// TestALiarInTheGossip: a member that says that it manages gets no other role by it, and a
// node that nobody has let in is no member. Addresses are taken down: they are a hint.
func TestALiarInTheGossip(t *testing.T) {
	c := member(t, "127.0.0.1:1", Options{})
	c.Learn([]join.Member{{Node: otherID, Name: "pi-2", Role: picloud.RoleServing, Address: "127.0.0.1:1"}}, nil)
	require.NoError(t, c.Start(Services{}))
	defer c.Stop()
	const inventedID = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a13"
	for _, node := range []string{otherID, inventedID} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		liar, err := gossip.New(gossip.Options{
			Node: node, Cluster: clusterID, Bind: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Keys: [][]byte{make([]byte, 32)},
			Known: func() []string { return []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(c.o.GossipPort))} },
		})
		require.NoError(t, err)
		liar.Say(gossip.Meta{Name: "boss", Address: "127.0.0.1:2", Role: string(identity.Manager), Epoch: 1 << 60})
		require.NoError(t, liar.Start())
		defer liar.Stop()
	}
	heard := map[string]gossip.Member{}
	require.Eventually(t, func() bool {
		for _, m := range c.Members() {
			heard[m.Node] = m
		}
		return heard[otherID].Alive && heard[inventedID].Alive && c.State().Members[0].Address == "127.0.0.1:2"
	}, 20*time.Second, time.Millisecond)
	require.Equal(t, string(identity.Node), heard[otherID].Meta.Role)
	require.Empty(t, heard[inventedID].Meta.Role)
	require.Equal(t, string(identity.Manager), heard[nodeID].Meta.Role, "its own comes from its certificate")
	require.Equal(t, []join.Member{{
		Node: otherID, Name: "pi-2", Role: picloud.RoleServing, Address: "127.0.0.1:2", Gossip: heard[otherID].Gossip,
	}}, c.State().Members)
}

// TestPortsThatWereTaken: a node that became a member while another program had its port
// listens when it is told to again.
func TestPortsThatWereTaken(t *testing.T) {
	c := member(t, "127.0.0.1:1", Options{})
	_, err := c.Listener(port.Raft)
	require.Error(t, err)
	require.NoError(t, c.Listen(), "it does not run")
	taken, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.o.GossipPort)))
	require.NoError(t, err)
	defer c.Stop()
	require.ErrorContains(t, c.Start(Services{}), "listen on gossip port")
	require.ErrorContains(t, c.Listen(), "listen on gossip port")
	require.NoError(t, taken.Close())
	require.NoError(t, c.Listen())
	require.NoError(t, c.Listen(), "once")
	_, err = c.Listener(port.Raft)
	require.NoError(t, err)
}
