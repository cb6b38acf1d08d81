package postgres_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// The test server does not sync: on a card each write waits for one sync more.

func BenchmarkPublish(b *testing.B) {
	db := newDB(b)
	app(b, db, "blog")
	for n := 0; b.Loop(); n++ {
		publish(b, db, "blog", "hello", fmt.Sprint(n))
	}
}

func BenchmarkPublishOfWhatIsLive(b *testing.B) {
	db := newDB(b)
	for b.Loop() {
		publish(b, db, "blog", "hello", "same")
	}
}

func BenchmarkDeltaOfNothing(b *testing.B) {
	db := newDB(b)
	for n := range 200 {
		publish(b, db, "blog", fmt.Sprintf("f-%d", n), "same")
	}
	id, rev := incarnation(b, db), head(b, db)
	for b.Loop() {
		_, err := db.Catalog().Delta(b.Context(), "", id, rev)
		require.NoError(b, err)
	}
}

func BenchmarkWholeCatalogOf200(b *testing.B) {
	db := newDB(b)
	for n := range 200 {
		publish(b, db, "blog", fmt.Sprintf("f-%d", n), "same")
	}
	for b.Loop() {
		require.NotEmpty(b, catalog(b, db))
	}
}

func BenchmarkGrantAndRemove(b *testing.B) {
	db := newDB(b)
	app(b, db, "blog")
	user(b, db, "ada")
	for b.Loop() {
		_, err := db.Members().Add(b.Context(), root, "blog", "ada", picloud.RoleViewer)
		require.NoError(b, err)
		require.NoError(b, db.Members().Remove(b.Context(), root, "blog", "ada"))
	}
}

func BenchmarkUserByToken(b *testing.B) {
	db := newDB(b)
	hash := newToken()
	_, err := db.Users().Create(b.Context(), root, "ada", true, hash)
	require.NoError(b, err)
	for b.Loop() {
		_, err := db.Users().ByToken(b.Context(), hash)
		require.NoError(b, err)
	}
}
