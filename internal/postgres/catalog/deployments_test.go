package catalog_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestDeployAndRollBack(t *testing.T) {
	db := testdb.NewWithRoot(t)
	people := testdb.Cast(t, db)
	dev := people[developer]
	for i := range 3 {
		testdb.Publish(t, db, "blog", "hello", fmt.Sprint(i+1))
	}
	live := func() int { return testdb.Served(t, db)["blog/hello"] }
	require.Equal(t, 3, live())

	for role, code := range map[picloud.Role]picloud.Code{"": picloud.CodeNotFound, viewer: picloud.CodeForbidden} {
		_, err := db.Deployments().Deploy(t.Context(), people[role], "blog", "hello", 1)
		testdb.RequireCode(t, code, err)
		_, err = db.Deployments().Rollback(t.Context(), people[role], "blog", "hello", 0)
		testdb.RequireCode(t, code, err)
	}
	back, err := db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 0)
	require.NoError(t, err)
	require.Equal(t, 2, back.Version)
	require.True(t, back.Rollback)
	require.Equal(t, "developer", back.CreatedBy)
	require.Equal(t, testdb.Head(t, db), back.Rev)
	require.Equal(t, 2, live())

	forth, err := db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 0)
	require.NoError(t, err)
	require.Equal(t, 3, forth.Version, "what was live before the rollback")

	to, err := db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 1)
	require.NoError(t, err)
	require.True(t, to.Rollback)
	require.Equal(t, 1, live())
	same, err := db.Deployments().Deploy(t.Context(), dev, "blog", "hello", 1)
	require.NoError(t, err)
	require.Equal(t, to, same, "what is live is not deployed again")
	require.Equal(t, to.Rev, testdb.Head(t, db))

	_, err = db.Deployments().Deploy(t.Context(), dev, "blog", "hello", 4)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 9)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Deployments().Deploy(t.Context(), dev, "blog", "nope", 1)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	require.Equal(t, 1, live())
}

func TestNothingToRollBackTo(t *testing.T) {
	db := testdb.NewWithRoot(t)
	testdb.App(t, db, "blog")
	_, err := db.Deployments().Rollback(t.Context(), root, "blog", "hello", 0)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	testdb.Publish(t, db, "blog", "hello", "1")
	_, err = db.Deployments().Rollback(t.Context(), root, "blog", "hello", 0)
	testdb.RequireCode(t, picloud.CodeConflict, err)
}

func TestDeploymentsAreKeptUpToABound(t *testing.T) {
	db := testdb.NewWithRoot(t)
	db.SetBounds(5, 10)
	testdb.Publish(t, db, "blog", "other", "1")
	for i := range 9 {
		testdb.Publish(t, db, "blog", "hello", fmt.Sprint(i%2))
	}
	var ids []int64
	page := picloud.Page{Limit: 2}
	for {
		items, next, err := db.Deployments().List(t.Context(), root, "blog", "hello", page)
		require.NoError(t, err)
		for _, d := range items {
			ids = append(ids, d.ID)
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	require.Len(t, ids, 5)
	require.IsDecreasing(t, ids)
	kept, err := db.Deployments().Get(t.Context(), root, "blog", "hello", ids[4])
	require.NoError(t, err)
	require.Equal(t, ids[4], kept.ID)
	_, err = db.Deployments().Get(t.Context(), root, "blog", "hello", ids[4]-1)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Deployments().Get(t.Context(), root, "blog", "other", ids[4])
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	_, err = db.Deployments().Get(t.Context(), testdb.User(t, db, "stranger"), "blog", "hello", ids[4])
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	others, _, err := db.Deployments().List(t.Context(), root, "blog", "other", picloud.Page{})
	require.NoError(t, err)
	require.Len(t, others, 1)
	_, _, err = db.Deployments().List(t.Context(), root, "blog", "nope", picloud.Page{})
	testdb.RequireCode(t, picloud.CodeNotFound, err)
}
