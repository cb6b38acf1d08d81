package people_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestGrant(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	testdb.User(t, db, "ada")

	got, err := db.Members().Add(t.Context(), people[admin], "blog", "ada", developer)
	require.NoError(t, err)
	require.Equal(t, picloud.Member{
		App: "blog", User: "ada", Role: developer, GrantedBy: "admin", CreatedAt: got.CreatedAt, UpdatedAt: got.CreatedAt,
	}, got)
	require.Equal(t, "UTC", got.CreatedAt.Location().String())
	require.WithinDuration(t, got.CreatedAt, got.UpdatedAt, 0)

	_, err = db.Members().Add(t.Context(), people[owner], "blog", "ada", owner)
	testdb.RequireCode(t, picloud.CodeExists, err)
	same, err := db.Members().Get(t.Context(), people[viewer], "blog", "ada")
	require.NoError(t, err)
	require.Equal(t, got, same, "a second grant changes nothing")

	_, err = db.Members().Add(t.Context(), root, "blog", "nobody-known", viewer)
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	_, err = db.Members().Add(t.Context(), root, "blog", "stranger", "boss")
	testdb.RequireCode(t, picloud.CodeInvalid, err)
	_, err = db.Members().Add(t.Context(), root, "shop", "stranger", viewer)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
}

// The rights over members as one table: the actor's role, the target's role, the new
// role.
func TestRightsOverMembers(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	ok, absent, no := picloud.Code(""), picloud.CodeNotFound, picloud.CodeForbidden
	for n, c := range []struct {
		actor, present, role picloud.Role // present "": no member yet; role "": remove
		want                 picloud.Code
	}{
		{"", "", viewer, absent},
		{"", viewer, developer, absent},
		{"", viewer, "", absent},
		{viewer, "", viewer, no},
		{viewer, viewer, developer, no},
		{viewer, viewer, "", no},
		{developer, "", viewer, no},
		{developer, viewer, "", no},
		{admin, "", admin, ok},
		{admin, "", owner, no},
		{admin, viewer, admin, ok},
		{admin, viewer, owner, no},
		{admin, owner, viewer, no},
		{admin, owner, "", no},
		{admin, admin, "", ok},
		{owner, "", owner, ok},
		{owner, viewer, owner, ok},
		{owner, owner, viewer, ok},
		{owner, owner, "", ok},
	} {
		name := fmt.Sprintf("%s makes %s %s", or(c.actor, "stranger"), or(c.present, "nobody"), or(c.role, "leave"))
		t.Run(name, func(t *testing.T) {
			target := fmt.Sprintf("target-%d", n)
			testdb.User(t, db, target)
			members := db.Members()
			var err error
			if c.present == "" {
				_, err = members.Add(t.Context(), people[c.actor], "blog", target, c.role)
			} else {
				_, err = members.Add(t.Context(), root, "blog", target, c.present)
				require.NoError(t, err)
				if c.role == "" {
					err = members.Remove(t.Context(), people[c.actor], "blog", target)
				} else {
					_, err = members.SetRole(t.Context(), people[c.actor], "blog", target, c.role)
				}
			}
			if c.want == ok {
				require.NoError(t, err)
			} else {
				testdb.RequireCode(t, c.want, err)
			}
			want := c.role
			if c.want != ok {
				want = c.present
			}
			require.Equal(t, want, testdb.RoleOf(t, db, "blog", target))
		})
	}
}

func or(role, other picloud.Role) picloud.Role {
	if role == "" {
		return other
	}
	return role
}

func TestTheLastOwnerStays(t *testing.T) {
	db := testdb.NewWithRoot(t)
	testdb.App(t, db, "blog")
	ada := testdb.Member(t, db, "blog", "ada", owner)
	for _, actor := range []picloud.Actor{ada, root} {
		_, err := db.Members().SetRole(t.Context(), actor, "blog", "ada", admin)
		testdb.RequireCode(t, picloud.CodeLastOwner, err)
		testdb.RequireCode(t, picloud.CodeLastOwner, db.Members().Remove(t.Context(), actor, "blog", "ada"))
	}
	_, err := db.Members().SetRole(t.Context(), ada, "blog", "ada", owner)
	require.NoError(t, err, "staying owner is no demotion")
	testdb.Member(t, db, "blog", "bob", owner)
	require.NoError(t, db.Members().Remove(t.Context(), ada, "blog", "ada"))
	testdb.RequireCode(t, picloud.CodeNotFound, db.Members().Remove(t.Context(), ada, "blog", "bob"))
}

func TestMissingMembers(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	_, err := db.Members().SetRole(t.Context(), people[admin], "blog", "stranger", viewer)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	testdb.RequireCode(t, picloud.CodeNotFound, db.Members().Remove(t.Context(), people[admin], "blog", "stranger"))
	require.NoError(t, db.Members().Remove(t.Context(), people[admin], "blog", "viewer"))
	testdb.RequireCode(t, picloud.CodeNotFound, db.Members().Remove(t.Context(), people[admin], "blog", "viewer"))
	_, err = db.Members().SetRole(t.Context(), people[admin], "blog", "bad\x00name", viewer)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Members().Get(t.Context(), people[""], "blog", "owner")
	testdb.RequireCode(t, picloud.CodeNotFound, err)
}

func TestMembersByPage(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	var names []string
	page := picloud.Page{Limit: 3}
	for {
		items, next, err := db.Members().List(t.Context(), people[viewer], "blog", page)
		require.NoError(t, err)
		for _, m := range items {
			names = append(names, m.User)
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	require.Equal(t, []string{"admin", "developer", "owner", "viewer"}, names)
	_, _, err := db.Members().List(t.Context(), people[""], "blog", picloud.Page{})
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, _, err = db.Members().List(t.Context(), people[viewer], "blog", picloud.Page{Cursor: "!"})
	testdb.RequireCode(t, picloud.CodeInvalid, err)
}

func TestManyGrantsAtOnce(t *testing.T) {
	db := testdb.Wide(t)
	testdb.App(t, db, "blog")
	ada := testdb.Member(t, db, "blog", "ada", owner)
	testdb.User(t, db, "bob")
	var wg sync.WaitGroup
	results := make([]picloud.Member, 64)
	errs := make([]error, 64)
	begin := make(chan struct{})
	for i := range results {
		wg.Go(func() {
			<-begin
			results[i], errs[i] = db.Members().Add(t.Context(), ada, "blog", "bob", picloud.Roles[i%4])
		})
	}
	close(begin)
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, won, "two grants succeeded")
			won = i
			continue
		}
		testdb.RequireCode(t, picloud.CodeExists, err)
		require.ErrorIs(t, err, picloud.ErrConflict)
	}
	require.GreaterOrEqual(t, won, 0)
	require.Equal(t, picloud.Roles[won%4], results[won].Role)
	require.Equal(t, picloud.Roles[won%4], testdb.RoleOf(t, db, "blog", "bob"))
}

// A PATCH that races a DELETE finds the row or does not; it never makes one.
func TestAChangeNeverBringsAMemberBack(t *testing.T) {
	db := testdb.Wide(t)
	testdb.App(t, db, "blog")
	ada := testdb.Member(t, db, "blog", "ada", owner)
	const people, rounds = 8, 150
	var wg sync.WaitGroup
	var changed, missed atomic.Int64
	for p := range people {
		name := fmt.Sprintf("user-%d", p)
		testdb.User(t, db, name)
		wg.Go(func() {
			for round := range rounds {
				if _, err := db.Members().Add(t.Context(), ada, "blog", name, viewer); err != nil {
					t.Errorf("grant: %v", err)
					return
				}
				var race sync.WaitGroup
				for range 2 {
					race.Go(func() {
						switch _, err := db.Members().SetRole(t.Context(), ada, "blog", name, picloud.Roles[round%3]); {
						case err == nil:
							changed.Add(1)
						case errors.Is(err, picloud.ErrNotFound):
							missed.Add(1)
						default:
							t.Errorf("change: %v", err)
						}
					})
				}
				if err := db.Members().Remove(t.Context(), ada, "blog", name); err != nil {
					t.Errorf("remove: %v", err)
				}
				race.Wait()
				if _, err := db.Members().Get(t.Context(), ada, "blog", name); !errors.Is(err, picloud.ErrNotFound) {
					t.Errorf("member is back: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d changes before the removal, %d after", changed.Load(), missed.Load())
	require.Equal(t, int64(2*people*rounds), changed.Load()+missed.Load())
}

// Two owners who remove or demote each other at once leave one.
func TestTwoOwnersAgainstEachOther(t *testing.T) {
	db := testdb.Wide(t)
	for round := range 60 {
		name := fmt.Sprintf("app-%d", round)
		testdb.App(t, db, name)
		var owners [2]picloud.Actor
		for i := range owners {
			owners[i] = testdb.Member(t, db, name, fmt.Sprintf("o%d-%d", i, round), owner)
		}
		var errs [2]error
		var wg sync.WaitGroup
		for i := range owners {
			wg.Go(func() {
				if (round+i)%2 == 0 {
					errs[i] = db.Members().Remove(t.Context(), owners[i], name, owners[1-i].User)
				} else {
					_, errs[i] = db.Members().SetRole(t.Context(), owners[i], name, owners[1-i].User, viewer)
				}
			})
		}
		wg.Wait()
		require.NotEqual(t, (errs[0] == nil), (errs[1] == nil), "one of the two succeeds: %v, %v", errs[0], errs[1])
		left := 0
		for _, o := range owners {
			if testdb.RoleOf(t, db, name, o.User) == owner {
				left++
			}
		}
		require.Equal(t, 1, left)
	}
}
