package catalog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestApps(t *testing.T) {
	db := testdb.NewWithRoot(t)
	boss := testdb.ClusterAdmin(t, db, "ada")
	ada := picloud.Actor{User: "ada"} // an admin who does not act as one

	_, err := db.Apps().Create(t.Context(), ada, "blog")
	testdb.RequireCode(t, picloud.CodeForbidden, err)
	made, err := db.Apps().Create(t.Context(), boss, "blog")
	require.NoError(t, err)
	require.Equal(t, "blog", made.Name)
	require.Equal(t, owner, testdb.RoleOf(t, db, "blog", "ada"), "who creates an app owns it")
	_, err = db.Apps().Create(t.Context(), root, "blog")
	testdb.RequireCode(t, picloud.CodeExists, err)
	_, err = db.Apps().Create(t.Context(), root, "Bad Name")
	testdb.RequireCode(t, picloud.CodeInvalid, err)

	got, role, err := db.Apps().Get(t.Context(), ada, "blog")
	require.NoError(t, err)
	require.Equal(t, made, got)
	require.Equal(t, owner, role)
	_, role, err = db.Apps().Get(t.Context(), root, "blog")
	require.NoError(t, err)
	require.Equal(t, owner, role)
	stranger := testdb.User(t, db, "stranger")
	for _, name := range []string{"blog", "shop", "no name"} {
		_, _, err = db.Apps().Get(t.Context(), stranger, name)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
	}
}

func TestAppsByPage(t *testing.T) {
	db := testdb.NewWithRoot(t)
	ada := testdb.User(t, db, "ada")
	for _, name := range []string{"c", "a", "d", "b"} {
		testdb.App(t, db, name)
	}
	for _, name := range []string{"a", "b", "d"} {
		_, err := db.Members().Add(t.Context(), root, name, "ada", viewer)
		require.NoError(t, err)
	}
	first, next, err := db.Apps().List(t.Context(), ada, picloud.Page{Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, []string{first[0].Name, first[1].Name})
	second, end, err := db.Apps().List(t.Context(), ada, picloud.Page{Limit: 2, Cursor: next})
	require.NoError(t, err)
	require.Len(t, second, 1)
	require.Equal(t, "d", second[0].Name)
	require.Empty(t, end)
	every, _, err := db.Apps().List(t.Context(), root, picloud.Page{})
	require.NoError(t, err)
	require.Len(t, every, 4)
}

func TestDeletingAnApp(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	people := testdb.Cast(t, db)
	testdb.Publish(t, db, "blog", "hello", "1")
	testdb.Publish(t, db, "blog", "hello", "2")
	testdb.Publish(t, db, "blog", "bye", "1")
	_, err := db.Functions().Create(t.Context(), root, "blog", "idle", picloud.Settings{})
	require.NoError(t, err)
	testdb.Publish(t, db, "shop", "cart", "1")
	before := testdb.Head(t, db)

	testdb.RequireCode(t, picloud.CodeNotFound, testdb.ErrorOf(db.Apps().Delete(t.Context(), people[""], "blog")))
	testdb.RequireCode(t, picloud.CodeForbidden, testdb.ErrorOf(db.Apps().Delete(t.Context(), people[admin], "blog")))
	rev, err := db.Apps().Delete(t.Context(), people[owner], "blog")
	require.NoError(t, err)
	require.Equal(t, before+1, rev)
	testdb.RequireCode(t, picloud.CodeNotFound, testdb.ErrorOf(db.Apps().Delete(t.Context(), root, "blog")))

	d, err := db.Catalog().Delta(t.Context(), "", testdb.Incarnation(t, db), before)
	require.NoError(t, err)
	require.Equal(t, before+1, d.Rev)
	require.ElementsMatch(t, []picloud.RouteKey{{App: "blog"}, {App: "blog", Function: "hello"}, {App: "blog", Function: "bye"}}, d.Gone)

	conn := testdb.Connect(t, dsn)
	for table, want := range map[string]int{"app": 1, "function": 1, "version": 1, "deployment": 1, "code": 1, "member": 1} {
		var n int
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
		require.Equal(t, want, n, table)
	}

	require.NoError(t, testdb.ErrorOf(db.Apps().Delete(t.Context(), root, "shop")))
	at := testdb.Head(t, db)
	testdb.App(t, db, "empty")
	require.Equal(t, at+1, testdb.Head(t, db), "nodes learn of apps without functions")
	require.NoError(t, testdb.ErrorOf(db.Apps().Delete(t.Context(), root, "empty")))
	require.Equal(t, at+2, testdb.Head(t, db))
}

func TestContentsOfAnApp(t *testing.T) {
	db := testdb.NewWithRoot(t)
	testdb.Publish(t, db, "shop", "a", "1")
	testdb.Publish(t, db, "shop", "b", "2")
	testdb.Publish(t, db, "other", "c", "3")
	testdb.Member(t, db, "shop", "ada", picloud.RoleViewer)
	_, err := db.Env().Replace(t.Context(), root, "shop", picloud.Env{"A": "1", "B": "2", "C": "3"}, 0)
	require.NoError(t, err)
	contents, err := db.Apps().Contents(t.Context(), root, "shop")
	require.NoError(t, err)
	require.Equal(t, picloud.AppContents{Functions: 2, Members: 2, Variables: 3}, contents)
	for _, name := range []string{"none", "No Name"} {
		_, err = db.Apps().Contents(t.Context(), root, name)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
	}
	_, err = db.Apps().Contents(t.Context(), testdb.User(t, db, "stranger"), "shop")
	testdb.RequireCode(t, picloud.CodeNotFound, err)
}
