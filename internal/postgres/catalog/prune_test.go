package catalog_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/catalog"
	"github.com/picloud/picloud/internal/testdb"
)

// TestOldVersionsArePruned: what is live, what was deployed lately, and the newest stay, with
// their code. Who asks for one that is gone is told so.
func TestOldVersionsArePruned(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	conn := testdb.Connect(t, dsn)
	testdb.Publish(t, db, "blog", "hello", "v1")
	draft := func(app, function, source string) {
		t.Helper()
		_, err := db.Versions().Publish(t.Context(), root, picloud.Publication{App: app, Function: function, Source: []byte(source), Create: true})
		require.NoError(t, err)
	}
	for n := 2; n <= 9; n++ {
		draft("blog", "hello", fmt.Sprintf("v%d", n))
	}
	_, err := db.Deployments().Deploy(t.Context(), root, "blog", "hello", 4)
	require.NoError(t, err)
	draft("shop", "other", "v2") // another function has the same code
	draft("shop", "few", "x")

	stores := catalog.New(db.DB)
	stores.SetMaxVersions(3)
	for _, epoch := range []int64{postgres.NoManager, 7} {
		_, err = stores.Versions().Prune(t.Context(), epoch)
		testdb.RequireCode(t, picloud.CodeDeposed, err)
	}
	before := testdb.Head(t, db)
	removed, err := stores.Versions().Prune(t.Context(), postgres.Alone)
	require.NoError(t, err)
	require.EqualValues(t, 4, removed)
	require.Equal(t, before, testdb.Head(t, db), "nodes are not woken: they serve none of it")
	versions, _, err := db.Versions().List(t.Context(), root, "blog", "hello", picloud.Page{})
	require.NoError(t, err)
	var kept []int
	for _, v := range versions {
		kept = append(kept, v.Number)
	}
	require.Equal(t, []int{9, 8, 7, 4, 1}, kept)
	var code string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT string_agg(convert_from(source, 'UTF8'), ' ' ORDER BY source) FROM code`).Scan(&code))
	require.Equal(t, "v1 v2 v4 v7 v8 v9 x", code)

	_, err = db.Deployments().Deploy(t.Context(), root, "blog", "hello", 5)
	testdb.RequireCode(t, picloud.CodeNotFound, err)
	require.ErrorContains(t, err, "not kept any more")
	_, err = db.Deployments().Rollback(t.Context(), root, "blog", "hello", 5)
	require.ErrorContains(t, err, "not kept any more")
	out, err := db.Deployments().Rollback(t.Context(), root, "blog", "hello", 0)
	require.NoError(t, err)
	require.Equal(t, 1, out.Version)
	p := testdb.Publish(t, db, "blog", "hello", "v5")
	require.Equal(t, 10, p.Version.Number, "the code is a new version")
	removed, err = stores.Versions().Prune(t.Context(), postgres.Alone)
	require.NoError(t, err)
	require.EqualValues(t, 1, removed, "v7 is not among the newest three any more")
}
