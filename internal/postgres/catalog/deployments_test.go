package catalog_test

import (
	"errors"
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
	require.False(t, back.Unchanged)
	require.Equal(t, 3, back.Previous, "the one that it left")
	require.Equal(t, 1, back.RollbackTo, "the one that the next rollback brings")
	require.Equal(t, "developer", back.CreatedBy)
	require.Equal(t, testdb.Head(t, db), back.Rev)
	require.Equal(t, 2, live())

	further, err := db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 0)
	require.NoError(t, err)
	require.Equal(t, 1, further.Version, "one further back, not to the version that was left")
	require.Zero(t, further.RollbackTo)
	require.Equal(t, 1, live())
	_, err = db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 0)
	testdb.RequireCode(t, picloud.CodeConflict, err)

	to, err := db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 3)
	require.NoError(t, err)
	require.True(t, to.Rollback)
	require.Equal(t, 1, to.RollbackTo)
	require.Equal(t, 3, live())
	same, err := db.Deployments().Deploy(t.Context(), dev, "blog", "hello", 3)
	require.NoError(t, err)
	require.Equal(t, to.Deployment, same.Deployment, "what is live is not deployed again")
	require.True(t, same.Unchanged)
	again, err := db.Deployments().Rollback(t.Context(), dev, "blog", "hello", 3)
	require.NoError(t, err)
	require.True(t, again.Unchanged)
	require.Equal(t, 1, again.RollbackTo)
	require.Equal(t, to.Rev, testdb.Head(t, db))

	for _, missing := range []int{4, 999, 1 << 40} {
		_, err = db.Deployments().Deploy(t.Context(), dev, "blog", "hello", missing)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
		_, err = db.Deployments().Rollback(t.Context(), dev, "blog", "hello", missing)
		testdb.RequireCode(t, picloud.CodeNotFound, err)
		require.ErrorContains(t, err, fmt.Sprintf("there is no version v%d", missing))
		e, _ := errors.AsType[*picloud.Error](err)
		require.Equal(t, "the versions are v1 to v3", e.Hint)
	}
	_, err = db.Deployments().Deploy(t.Context(), dev, "blog", "nope", 1)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	require.Equal(t, 3, live())
}

// TestOldCodeThatIsDeployedAgainIsLiveAgain: it is no new version, but the
// function changed, and a rollback takes it back.
func TestOldCodeThatIsDeployedAgainIsLiveAgain(t *testing.T) {
	db := testdb.NewWithRoot(t)
	first := testdb.Publish(t, db, "blog", "flip", "one")
	require.False(t, first.Unchanged)
	require.Zero(t, first.Deployment.Previous)
	testdb.Publish(t, db, "blog", "flip", "two")

	again := testdb.Publish(t, db, "blog", "flip", "one")
	require.True(t, again.Existing)
	require.False(t, again.Unchanged)
	require.Equal(t, 1, again.Version.Number)
	require.Equal(t, 2, again.Deployment.Previous)

	same := testdb.Publish(t, db, "blog", "flip", "one")
	require.True(t, same.Unchanged)
	require.Equal(t, again.Deployment, same.Deployment)

	back, err := db.Deployments().Rollback(t.Context(), root, "blog", "flip", 0)
	require.NoError(t, err)
	require.Equal(t, 2, back.Version)
	require.Equal(t, 1, back.RollbackTo)
}

func TestADeployThatMakesItsAppSaysSo(t *testing.T) {
	db := testdb.NewWithRoot(t)
	publish := func(app, function string) picloud.Published {
		p, err := db.Versions().Publish(t.Context(), root, picloud.Publication{App: app, Function: function, Source: []byte("1"), Create: true, Deploy: true})
		require.NoError(t, err)
		return p
	}
	require.True(t, publish("shpo", "a").AppCreated)
	require.False(t, publish("shpo", "b").AppCreated)
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
