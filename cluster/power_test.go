package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/powercut"
)

func init() { powercut.Program("member", liveAsMember) }

// liveAsMember is the life of a member on its disk: it joins, gets new keys of the gossip,
// hears of other members and of one that was removed, and renews its certificate.
func liveAsMember(dir string) error {
	c, err := Open(Options{Dir: dir, Node: nodeID, Name: "pi-1"})
	if err != nil {
		return err
	}
	authority, err := identity.NewAuthority(clusterID, time.Now())
	if err != nil {
		return err
	}
	csr, err := c.Request()
	if err != nil {
		return err
	}
	sign := func(at time.Time) []byte {
		leaf, err := authority.Sign(identity.Request{Node: nodeID, Name: "pi-1", Role: identity.Manager, CSR: csr}, at)
		if err != nil {
			panic(err)
		}
		return leaf
	}
	state := State{Cluster: clusterID, Name: "home", Address: "127.0.0.1:7947", GossipKeys: [][]byte{make([]byte, 32)}, GossipRev: 1}
	if err := c.Enter(state, sign(time.Now()), authority.Certificate()); err != nil {
		return err
	}
	powercut.Say("member")
	for rev := 2; rev <= 4; rev++ {
		key := make([]byte, 32)
		key[0] = byte(rev)
		if err := c.UseRing(Ring{Keys: [][]byte{key, c.State().GossipKeys[0]}, Rev: rev}); err != nil {
			return err
		}
		powercut.Say("ring " + strconv.Itoa(rev))
	}
	var others []join.Member
	for i := range 3 {
		others = append(others, join.Member{Node: fmt.Sprintf("6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a%02d", 20+i), Name: "other", Role: picloud.RoleManager, Address: "127.0.0.1:1"})
		c.Learn(slices.Clone(others), nil)
	}
	c.Learn(others[:2], []string{others[2].Node})
	powercut.Say("removed")
	for i := range 2 {
		if err := c.Renew(sign(time.Now().Add(time.Duration(i+1)*time.Hour)), authority.Certificate()); err != nil {
			return err
		}
		powercut.Say("renewed " + strconv.Itoa(i+1))
	}
	return nil
}

// TestPowerCuts cuts the power after each operation of a member's disk. Each time the node
// is alone or a member; what it was told and has answered for is there, and no start fails.
func TestPowerCuts(t *testing.T) {
	ops := powercut.Record(t, "member")
	begun := time.Now()
	var roots, serials []string // as they come to light
	tried := powercut.Try(t, ops, powercut.POSIX, 3, func(s powercut.State) {
		c, err := Open(Options{Dir: s.Dir, Node: nodeID, Name: "pi-1"})
		require.NoError(t, err, s)
		if !c.Member() {
			require.NotContains(t, s.Said, "member", s)
			_, err := c.Request() // it can join: with its key, or with one that is made now
			require.NoError(t, err, s)
			return
		}
		ring, minimum := c.Ring(), 1
		for rev := 2; rev <= 4; rev++ {
			if slices.Contains(s.Said, "ring "+strconv.Itoa(rev)) {
				minimum = rev
			}
		}
		require.Contains(t, []int{minimum, minimum + 1}, ring.Rev, s)
		if ring.Rev > 1 {
			require.Equal(t, byte(ring.Rev), ring.Keys[0][0], s)
		}
		if slices.Contains(s.Said, "removed") {
			require.Len(t, c.State().Members, 2, s)
			require.Len(t, ring.Removed, 1, s)
		}
		if serial := c.Peer().Serial; !slices.Contains(serials, serial) {
			serials = append(serials, serial)
		}
		at := slices.Index(serials, c.Peer().Serial)
		for i := range 2 {
			if slices.Contains(s.Said, "renewed "+strconv.Itoa(i+1)) {
				require.Greater(t, at, i, s)
			}
		}
		if root := string(c.RootsPEM()); !slices.Contains(roots, root) {
			roots = append(roots, root)
		}
	})
	require.Len(t, serials, 3)
	require.Len(t, roots, 1)
	t.Logf("%d operations, %d states, %s", len(ops), tried, time.Since(begun).Round(time.Millisecond))
}
