package catalog_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// The test server does not sync: on a card each write waits for one sync more.

func BenchmarkPublish(b *testing.B) {
	db := testdb.NewWithRoot(b)
	testdb.App(b, db, "blog")
	for n := 0; b.Loop(); n++ {
		testdb.Publish(b, db, "blog", "hello", fmt.Sprint(n))
	}
}

// BenchmarkPublishAsManager is BenchmarkPublish in a cluster of several nodes: each change
// proves the epoch.
func BenchmarkPublishAsManager(b *testing.B) {
	dsn := testdb.DSN(b)
	alone := testdb.OpenWithRoot(b, dsn)
	testdb.App(b, alone, "blog")
	held, err := alone.Leadership().Show(b.Context())
	require.NoError(b, err)
	epoch, err := alone.Leadership().Acquire(b.Context(), held.Cluster, 1, "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11")
	require.NoError(b, err)
	db, err := store.Open(postgres.Options{DSN: dsn, Epoch: func() int64 { return epoch }})
	require.NoError(b, err)
	b.Cleanup(db.Close)
	for n := 0; b.Loop(); n++ {
		testdb.Publish(b, db, "blog", "hello", fmt.Sprint(n))
	}
}

func BenchmarkPublishOfWhatIsLive(b *testing.B) {
	db := testdb.NewWithRoot(b)
	for b.Loop() {
		testdb.Publish(b, db, "blog", "hello", "same")
	}
}

func BenchmarkDeltaOfNothing(b *testing.B) {
	db := testdb.NewWithRoot(b)
	for n := range 200 {
		testdb.Publish(b, db, "blog", fmt.Sprintf("f-%d", n), "same")
	}
	id, rev := testdb.Incarnation(b, db), testdb.Head(b, db)
	for b.Loop() {
		_, err := db.Catalog().Delta(b.Context(), "", id, rev)
		require.NoError(b, err)
	}
}

func BenchmarkWholeCatalogOf200(b *testing.B) {
	db := testdb.NewWithRoot(b)
	for n := range 200 {
		testdb.Publish(b, db, "blog", fmt.Sprintf("f-%d", n), "same")
	}
	for b.Loop() {
		require.NotEmpty(b, testdb.Served(b, db))
	}
}

func BenchmarkGrantAndRemove(b *testing.B) {
	db := testdb.NewWithRoot(b)
	testdb.App(b, db, "blog")
	testdb.User(b, db, "ada")
	for b.Loop() {
		_, err := db.Members().Add(b.Context(), root, "blog", "ada", picloud.RoleViewer)
		require.NoError(b, err)
		require.NoError(b, db.Members().Remove(b.Context(), root, "blog", "ada"))
	}
}

func BenchmarkUserByToken(b *testing.B) {
	db := testdb.NewWithRoot(b)
	hash := testdb.TokenHash()
	_, err := db.Users().Create(b.Context(), root, "ada", true, hash)
	require.NoError(b, err)
	for b.Loop() {
		_, err := db.Users().ByToken(b.Context(), hash)
		require.NoError(b, err)
	}
}
