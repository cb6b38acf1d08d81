package fleet_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/testdb"
)

// as is an admission of node n that shows an invitation.
func as(a fleet.Admission, n int) fleet.Admission {
	key := sha256.Sum256([]byte{byte(n)})
	a.KeyDigest, a.ID, a.Name = key[:], fmt.Sprintf("6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0%03d", n), fmt.Sprintf("pi-%d", n)
	a.Version, a.Arch, a.Address = "v1", "arm64", fmt.Sprintf("10.0.0.%d:7947", n)
	return a
}

// node is the same node as it reports itself.
func node(n int) picloud.Node {
	a := as(fleet.Admission{}, n)
	return picloud.Node{ID: a.ID, Name: a.Name, Version: a.Version, Arch: a.Arch, Address: a.Address, StartedAt: time.Now()}
}

// TestATokenLetsInAsManyAsItSays: of 100 nodes that show one token at once, as many as it
// has uses become members, and each of the others is told why not.
func TestATokenLetsInAsManyAsItSays(t *testing.T) {
	db := testdb.NewWithRoot(t)
	require.NoError(t, db.Nodes().Report(t.Context(), node(0)))
	for _, uses := range []int{1, 5} {
		before, err := db.Nodes().List(t.Context())
		require.NoError(t, err)
		inv := testdb.Invite(t, db, testdb.Root, picloud.RoleServing, uses, time.Hour)
		var wg sync.WaitGroup
		var let atomic.Int32
		for i := range 100 {
			wg.Go(func() {
				role, err := db.Invitations().Admit(t.Context(), as(inv, 100*uses+i))
				if err == nil {
					let.Add(1)
					if role != picloud.RoleServing {
						t.Errorf("role %q", role)
					}
					return
				}
				if picloud.CodeOf(err) != picloud.CodeInvitation {
					t.Errorf("refused for another reason: %v", err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, uses, let.Load())
		nodes, err := db.Nodes().List(t.Context())
		require.NoError(t, err)
		require.Len(t, nodes, len(before)+uses)
	}
}

func TestAdmit(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	conn := testdb.Connect(t, dsn)
	require.NoError(t, db.Nodes().Report(t.Context(), node(1)))
	admit := func(a fleet.Admission) error { _, err := db.Invitations().Admit(t.Context(), a); return err }
	inv := testdb.Invite(t, db, testdb.Root, picloud.RoleManager, 2, time.Hour)

	wrong := as(inv, 2)
	wrong.Secret = make([]byte, 32)
	testdb.RequireCode(t, picloud.CodeInvitation, admit(wrong))
	taken := as(inv, 2)
	taken.Name = "pi-1"
	err := admit(taken)
	testdb.RequireCode(t, picloud.CodeConflict, err)
	require.ErrorContains(t, err, "pi-1")

	require.NoError(t, admit(as(inv, 2)))
	require.NoError(t, admit(as(inv, 2)), "its answer was lost")
	open, err := db.Invitations().List(t.Context(), testdb.Root)
	require.NoError(t, err)
	require.Equal(t, 1, open[0].Uses, "a repetition costs nothing")
	nodes, err := db.Nodes().List(t.Context())
	require.NoError(t, err)
	require.False(t, nodes[1].Alive(time.Now()), "nobody waits for it before it has reported itself")
	require.NoError(t, db.Nodes().Report(t.Context(), node(2)))
	copied := as(inv, 2)
	copied.KeyDigest = as(inv, 3).KeyDigest
	err = admit(copied)
	testdb.RequireCode(t, picloud.CodeConflict, err)
	require.ErrorContains(t, err, "copies of one data folder")

	// A board that was flashed again comes back under its name, as another node.
	require.NoError(t, db.Nodes().Stop(t.Context(), node(2)))
	flashed := as(inv, 3)
	flashed.Name = "pi-2"
	require.NoError(t, admit(flashed))
	err = db.Nodes().Report(t.Context(), node(2))
	testdb.RequireCode(t, picloud.CodeNotInvited, err)
	require.ErrorContains(t, err, "was removed")
	testdb.RequireCode(t, picloud.CodeNotInvited, admit(as(testdb.Invite(t, db, testdb.Root, picloud.RoleManager, 1, time.Hour), 2)))
	members, err := db.Cluster().Members(t.Context())
	require.NoError(t, err)
	require.Equal(t, []fleet.Member{
		{ID: node(1).ID, Name: "pi-1", Role: picloud.RoleManager, Address: node(1).Address},
		{ID: node(2).ID, Name: "pi-2", Removed: true},
		{ID: node(3).ID, Name: "pi-2", Role: picloud.RoleManager, Address: node(3).Address},
	}, members)

	err = admit(as(inv, 4))
	testdb.RequireCode(t, picloud.CodeInvitation, err)
	require.ErrorContains(t, err, "used up")
	late := testdb.Invite(t, db, testdb.Root, picloud.RoleManager, 1, time.Hour)
	_, err = conn.Exec(t.Context(), `UPDATE invitation SET expires_at = now() - interval '1 s' WHERE id = $1`, late.Invitation)
	require.NoError(t, err)
	err = admit(as(late, 4))
	testdb.RequireCode(t, picloud.CodeInvitation, err)
	require.ErrorContains(t, err, "valid until")
	bad := as(testdb.Invite(t, db, testdb.Root, picloud.RoleManager, 1, time.Hour), 4)
	bad.Name = "No Name"
	testdb.RequireCode(t, picloud.CodeInvalid, admit(bad))
}

func TestInvitations(t *testing.T) {
	db := testdb.NewWithRoot(t)
	boss := testdb.ClusterAdmin(t, db, "boss")
	make := func(actor picloud.Actor, i picloud.Invitation, life time.Duration) error {
		_, err := db.Invitations().Create(t.Context(), actor, i, life, testdb.TokenHash())
		return err
	}
	good := picloud.Invitation{ID: "0123456789abcdef", Role: picloud.RoleServing, Uses: 1}
	testdb.RequireCode(t, picloud.CodeForbidden, make(picloud.Actor{User: "boss"}, good, time.Hour))
	testdb.RequireCode(t, picloud.CodeForbidden, make(picloud.Actor{User: "nobody", Admin: true}, good, time.Hour))
	for _, bad := range []picloud.Invitation{
		{ID: "x", Role: picloud.RoleServing, Uses: 1},
		{ID: good.ID, Role: "voter", Uses: 1},
		{ID: good.ID, Role: picloud.RoleServing},
		{ID: good.ID, Role: picloud.RoleServing, Uses: 1001},
	} {
		testdb.RequireCode(t, picloud.CodeInvalid, make(boss, bad, time.Hour))
	}
	testdb.RequireCode(t, picloud.CodeInvalid, make(boss, good, time.Second))
	testdb.RequireCode(t, picloud.CodeInvalid, make(boss, good, 31*24*time.Hour))
	require.NoError(t, make(boss, good, time.Hour))
	for i := range 99 {
		good.ID = fmt.Sprintf("%016x", i)
		require.NoError(t, make(boss, good, time.Hour))
	}
	good.ID = "ffffffffffffffff"
	testdb.RequireCode(t, picloud.CodeQuota, make(boss, good, time.Hour))
	testdb.RequireCode(t, picloud.CodeForbidden, db.Invitations().Delete(t.Context(), picloud.Actor{User: "boss"}, "0123456789abcdef"))
	testdb.RequireCode(t, picloud.CodeNotFound, db.Invitations().Delete(t.Context(), boss, "fedcba9876543210"))
	testdb.RequireCode(t, picloud.CodeNotFound, db.Invitations().Delete(t.Context(), boss, "no id"))
	require.NoError(t, db.Invitations().Delete(t.Context(), boss, "0123456789abcdef"))
	require.NoError(t, make(boss, good, time.Hour))
	open, err := db.Invitations().List(t.Context(), testdb.Root)
	require.NoError(t, err)
	require.Len(t, open, 100)
}

// TestAuthority: of several nodes that make the cluster's CA at once, one wins.
func TestAuthority(t *testing.T) {
	db := testdb.NewWithRoot(t)
	_, err := db.Cluster().Authority(t.Context())
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	got := [8]fleet.Authority{}
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			got[i], err = db.Cluster().ClaimAuthority(t.Context(), fleet.Authority{Certificate: []byte{byte(i)}, Key: []byte{1}, GossipKeys: []byte{2}})
			if err != nil {
				t.Errorf("claim: %v", err)
			}
		})
	}
	wg.Wait()
	for _, a := range got {
		require.Equal(t, got[0], a)
		require.Equal(t, 1, a.GossipRev)
	}
	facts, err := db.Cluster().Facts(t.Context())
	require.NoError(t, err)
	require.Equal(t, "home", facts.Name)
	require.Empty(t, facts.Founder)
	require.NoError(t, db.Nodes().Report(t.Context(), node(1)))
	facts, err = db.Cluster().Facts(t.Context())
	require.NoError(t, err)
	require.Equal(t, node(1).ID, facts.Founder)
}
