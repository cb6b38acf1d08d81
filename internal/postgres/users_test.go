package postgres_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/testdb"
)

func TestUsers(t *testing.T) {
	db := testdb.New(t)
	hash := newToken()
	made, err := db.Users().Create(t.Context(), root, "ada", true, hash)
	require.NoError(t, err)
	require.True(t, made.Admin)
	_, err = db.Users().Create(t.Context(), root, "ada", false, newToken())
	requireCode(t, picloud.CodeExists, err)
	_, err = db.Users().Create(t.Context(), root, "bob", false, hash)
	requireCode(t, picloud.CodeExists, err)
	require.NotContains(t, err.Error(), fmt.Sprintf("%x", hash[:4]), "no part of a token's hash is told")
	bob := user(t, db, "bob")
	_, err = db.Users().Create(t.Context(), bob, "eve", false, newToken())
	requireCode(t, picloud.CodeForbidden, err)
	_, err = db.Users().Create(t.Context(), root, "eve", false, []byte("short"))
	requireCode(t, picloud.CodeInvalid, err)

	got, err := db.Users().ByToken(t.Context(), hash)
	require.NoError(t, err)
	require.Equal(t, made, got)
	for _, bad := range [][]byte{nil, {}, hash[:31], newToken()} {
		_, err = db.Users().ByToken(t.Context(), bad)
		requireCode(t, picloud.CodeNotFound, err)
	}

	fresh := newToken()
	requireCode(t, picloud.CodeForbidden, db.Users().SetToken(t.Context(), bob, "ada", fresh))
	require.NoError(t, db.Users().SetToken(t.Context(), bob, "bob", fresh))
	got, err = db.Users().ByToken(t.Context(), fresh)
	require.NoError(t, err)
	require.Equal(t, "bob", got.Name)
	requireCode(t, picloud.CodeNotFound, db.Users().SetToken(t.Context(), root, "nobody", newToken()))

	items, next, err := db.Users().List(t.Context(), root, picloud.Page{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, []picloud.User{made}, items)
	items, next, err = db.Users().List(t.Context(), root, picloud.Page{Limit: 1, Cursor: next})
	require.NoError(t, err)
	require.Equal(t, "bob", items[0].Name)
	require.Empty(t, next)
	_, _, err = db.Users().List(t.Context(), bob, picloud.Page{})
	requireCode(t, picloud.CodeForbidden, err)
}

func TestBootstrapMakesOneUser(t *testing.T) {
	db := wide(t)
	var made atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			created, err := db.Users().Bootstrap(t.Context(), fmt.Sprintf("admin-%d", i), newToken())
			if err != nil {
				t.Errorf("bootstrap: %v", err)
			}
			if created {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int64(1), made.Load())
	items, _, err := db.Users().List(t.Context(), root, picloud.Page{})
	require.NoError(t, err)
	require.Len(t, items, 1)
	require.True(t, items[0].Admin)
}

func TestDeletingUsers(t *testing.T) {
	db := testdb.New(t)
	_, err := db.Users().Create(t.Context(), root, "boss", true, newToken())
	require.NoError(t, err)
	app(t, db, "blog")
	app(t, db, "shop")
	ada := member(t, db, "blog", "ada", owner)
	_, err = db.Members().Add(t.Context(), root, "shop", "ada", viewer)
	require.NoError(t, err)

	requireCode(t, picloud.CodeForbidden, db.Users().Delete(t.Context(), ada, "ada"))
	requireCode(t, picloud.CodeConflict, db.Users().Delete(t.Context(), root, "boss"))
	err = db.Users().Delete(t.Context(), root, "ada")
	requireCode(t, picloud.CodeLastOwner, err)
	require.ErrorContains(t, err, "blog")
	member(t, db, "blog", "bob", owner)
	require.NoError(t, db.Users().Delete(t.Context(), root, "ada"))
	requireCode(t, picloud.CodeNotFound, db.Users().Delete(t.Context(), root, "ada"))
	require.Empty(t, roleOf(t, db, "shop", "ada"))
	_, err = db.Users().Create(t.Context(), root, "boss2", true, newToken())
	require.NoError(t, err)
	require.NoError(t, db.Users().Delete(t.Context(), root, "boss"))
}

// Whatever happens to its owners at once, an app keeps one.
func TestDeletingOwnersAtOnce(t *testing.T) {
	db := wide(t)
	for round := range 40 {
		name := fmt.Sprintf("app-%d", round)
		app(t, db, name)
		var names [2]string
		for i := range names {
			names[i] = fmt.Sprintf("o%d-%d", i, round)
		}
		first := member(t, db, name, names[0], owner)
		user(t, db, names[1])
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
	db := wide(t)
	for i := range 8 {
		_, err := db.Users().Create(t.Context(), root, fmt.Sprintf("admin-%d", i), true, newToken())
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { _ = db.Users().Delete(t.Context(), root, fmt.Sprintf("admin-%d", i)) })
	}
	wg.Wait()
	items, _, err := db.Users().List(t.Context(), root, picloud.Page{})
	require.NoError(t, err)
	require.Len(t, items, 1)
}

func owners(t *testing.T, db *postgres.DB, app string) (n int) {
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
