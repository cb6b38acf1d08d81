package people_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

func TestUsers(t *testing.T) {
	db := testdb.NewWithRoot(t)
	hash := testdb.TokenHash()
	made, err := db.Users().Create(t.Context(), root, "ada", true, hash)
	require.NoError(t, err)
	require.True(t, made.Admin)
	_, err = db.Users().Create(t.Context(), root, "ada", false, testdb.TokenHash())
	testdb.RequireCode(t, picloud.CodeExists, err)
	_, err = db.Users().Create(t.Context(), root, "bob", false, hash)
	testdb.RequireCode(t, picloud.CodeExists, err)
	require.NotContains(t, err.Error(), fmt.Sprintf("%x", hash[:4]), "no part of a token's hash is told")
	bob := testdb.User(t, db, "bob")
	_, err = db.Users().Create(t.Context(), bob, "eve", false, testdb.TokenHash())
	testdb.RequireCode(t, picloud.CodeForbidden, err)
	_, err = db.Users().Create(t.Context(), root, "eve", false, []byte("short"))
	testdb.RequireCode(t, picloud.CodeInvalid, err)

	got, err := db.Users().ByToken(t.Context(), hash)
	require.NoError(t, err)
	require.Equal(t, made, got)
	for _, bad := range [][]byte{nil, {}, hash[:31], testdb.TokenHash()} {
		_, err = db.Users().ByToken(t.Context(), bad)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
	}

	fresh := testdb.TokenHash()
	testdb.RequireCode(t, picloud.CodeForbidden, db.Users().SetToken(t.Context(), bob, "ada", fresh))
	require.NoError(t, db.Users().SetToken(t.Context(), bob, "bob", fresh))
	got, err = db.Users().ByToken(t.Context(), fresh)
	require.NoError(t, err)
	require.Equal(t, "bob", got.Name)
	testdb.RequireCode(t, picloud.CodeNotFound, db.Users().SetToken(t.Context(), root, "nobody", testdb.TokenHash()))

	items, next, err := db.Users().List(t.Context(), root, picloud.Page{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, []picloud.User{made}, items)
	items, next, err = db.Users().List(t.Context(), root, picloud.Page{Limit: 2, Cursor: next})
	require.NoError(t, err)
	require.Equal(t, []string{"bob", "root"}, []string{items[0].Name, items[1].Name})
	require.Empty(t, next)
	_, _, err = db.Users().List(t.Context(), bob, picloud.Page{})
	testdb.RequireCode(t, picloud.CodeForbidden, err)

	for _, who := range []picloud.Actor{root, bob} {
		got, err = db.Users().Get(t.Context(), who, "bob")
		require.NoError(t, err)
		require.Equal(t, items[0], got)
	}
	for _, name := range []string{"ada", "nobody", "No Name"} {
		_, err = db.Users().Get(t.Context(), bob, name)
		testdb.RequireCode(t, picloud.CodeForbidden, err)
	}
	for _, name := range []string{"nobody", "No Name"} {
		_, err = db.Users().Get(t.Context(), root, name)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
	}
}

func TestBootstrapMakesOneUser(t *testing.T) {
	dsn := testdb.DSN(t)
	testdb.Open(t, dsn)
	db, err := store.Open(postgres.Options{DSN: dsn, MaxConns: 16})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	made := make(chan string, 16)
	var wg sync.WaitGroup
	for i := range cap(made) {
		wg.Go(func() {
			name := fmt.Sprintf("admin-%d", i)
			created, err := db.Users().Bootstrap(t.Context(), name, testdb.TokenHash())
			if err != nil {
				t.Errorf("bootstrap: %v", err)
			}
			if created {
				made <- name
			}
		})
	}
	wg.Wait()
	require.Len(t, made, 1)
	first := <-made
	items, _, err := db.Users().List(t.Context(), picloud.Actor{User: first, Admin: true}, picloud.Page{})
	require.NoError(t, err)
	require.Len(t, items, 1)
	require.Equal(t, first, items[0].Name)
	require.True(t, items[0].Admin)
}

func TestDeletingUsers(t *testing.T) {
	db := testdb.NewWithRoot(t)
	testdb.RequireCode(t, picloud.CodeConflict, db.Users().Delete(t.Context(), root, "root"))
	boss := testdb.ClusterAdmin(t, db, "boss")
	testdb.App(t, db, "blog")
	testdb.App(t, db, "shop")
	ada := testdb.Member(t, db, "blog", "ada", owner)
	_, err := db.Members().Add(t.Context(), root, "shop", "ada", viewer)
	require.NoError(t, err)

	testdb.RequireCode(t, picloud.CodeForbidden, db.Users().Delete(t.Context(), ada, "ada"))
	err = db.Users().Delete(t.Context(), root, "ada")
	testdb.RequireCode(t, picloud.CodeLastOwner, err)
	require.ErrorContains(t, err, "blog")
	testdb.Member(t, db, "blog", "bob", owner)
	require.NoError(t, db.Users().Delete(t.Context(), root, "ada"))
	testdb.RequireCode(t, picloud.CodeNotFound, db.Users().Delete(t.Context(), root, "ada"))
	require.Empty(t, testdb.RoleOf(t, db, "shop", "ada"))
	testdb.RequireCode(t, picloud.CodeLastOwner, db.Users().Delete(t.Context(), boss, "root"))
	testdb.Member(t, db, "shop", "cy", owner)
	require.NoError(t, db.Users().Delete(t.Context(), boss, "root"))
	testdb.RequireCode(t, picloud.CodeConflict, db.Users().Delete(t.Context(), boss, "boss"))
}

// Whatever happens to its owners at once, an app keeps one.
func TestDeletingOwnersAtOnce(t *testing.T) {
	db := testdb.Wide(t)
	for round := range 40 {
		name := fmt.Sprintf("app-%d", round)
		testdb.App(t, db, name)
		var names [2]string
		for i := range names {
			names[i] = fmt.Sprintf("o%d-%d", i, round)
		}
		first := testdb.Member(t, db, name, names[0], owner)
		testdb.User(t, db, names[1])
		var wg sync.WaitGroup
		wg.Go(func() { _ = db.Users().Delete(t.Context(), root, names[1]) })
		wg.Go(func() {
			if _, err := db.Members().Add(t.Context(), first, name, names[1], owner); err == nil {
				_ = db.Members().Remove(t.Context(), root, name, names[0])
			}
		})
		wg.Go(func() { _ = db.Users().Delete(t.Context(), root, names[0]) })
		wg.Wait()
		require.Positive(t, owners(t, db, name), "round %d", round)
	}
}

func TestDeletingAdminsAtOnce(t *testing.T) {
	db := testdb.Wide(t)
	var admins [8]picloud.Actor
	for i := range admins {
		admins[i] = testdb.ClusterAdmin(t, db, fmt.Sprintf("admin-%d", i))
	}
	require.NoError(t, db.Users().Delete(t.Context(), admins[0], root.User))
	atOnce := func(target func(i int) int) (done int) {
		var errs [len(admins)]error
		var wg sync.WaitGroup
		for i, a := range admins {
			wg.Go(func() { errs[i] = db.Users().Delete(t.Context(), a, admins[target(i)].User) })
		}
		wg.Wait()
		for i, err := range errs {
			if err == nil {
				done++
				continue
			}
			require.Contains(t, []picloud.Code{picloud.CodeForbidden, picloud.CodeConflict}, picloud.CodeOf(err), "%d: %v", i, err)
		}
		return done
	}
	left := func() (left []picloud.Actor) {
		for _, a := range admins {
			if _, err := db.Users().Get(t.Context(), picloud.Actor{User: a.User}, a.User); err == nil {
				left = append(left, a)
			}
		}
		return left
	}
	deleted := atOnce(func(i int) int { return (i + 1) % len(admins) })
	require.Len(t, left(), len(admins)-deleted)
	require.NotEmpty(t, left(), "each deleted the next, and the deleted nobody")
	for _, a := range admins {
		_, _ = db.Users().Create(t.Context(), left()[0], a.User, true, testdb.TokenHash())
	}
	require.Len(t, left(), len(admins))
	require.Equal(t, len(admins)-1, atOnce(func(i int) int { return i }), "each deletes itself; the last stays")
	require.Len(t, left(), 1)
}

func owners(t *testing.T, db *store.DB, app string) (n int) {
	t.Helper()
	items, _, err := db.Members().List(t.Context(), root, app, picloud.Page{})
	require.NoError(t, err)
	for _, m := range items {
		if m.Role == owner {
			n++
		}
	}
	return n
}
