package catalog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestDelta(t *testing.T) {
	db := testdb.NewWithRoot(t)
	empty, err := db.Catalog().Delta(t.Context(), "", "", 0)
	require.NoError(t, err)
	require.Equal(t, picloud.Delta{Incarnation: empty.Incarnation, Full: true}, empty)

	testdb.Publish(t, db, "blog", "a", "1")
	settings := picloud.Settings{Limits: picloud.Limits{Concurrency: 7}}
	_, err = db.Functions().UpdateSettings(t.Context(), root, "blog", "a", settings, 0)
	require.NoError(t, err)
	b := testdb.Publish(t, db, "blog", "b", "2")
	d, err := db.Catalog().Delta(t.Context(), "", empty.Incarnation, 0)
	require.NoError(t, err)
	require.Equal(t, picloud.Delta{
		Incarnation: empty.Incarnation, Rev: b.Deployment.Rev,
		Routes: []picloud.Route{
			{App: "blog", Function: "a", Version: 1, Digest: picloud.DigestOf([]byte("1")), Settings: settings, Rev: d.Routes[0].Rev},
			{App: "blog", Function: "b", Version: 1, Digest: b.Version.Digest, Rev: b.Deployment.Rev},
		},
		Apps: []picloud.AppConfig{{App: "blog", Rev: 1}},
	}, d)
	none, err := db.Catalog().Delta(t.Context(), "", empty.Incarnation, d.Rev)
	require.NoError(t, err)
	require.Equal(t, picloud.Delta{Incarnation: empty.Incarnation, Rev: d.Rev}, none)

	for _, c := range []struct {
		incarnation string
		have        int64
	}{{"", d.Rev}, {"6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", d.Rev}, {empty.Incarnation, d.Rev + 1}, {empty.Incarnation, -1}} {
		whole, err := db.Catalog().Delta(t.Context(), "", c.incarnation, c.have)
		require.NoError(t, err)
		require.True(t, whole.Full)
		require.Len(t, whole.Routes, 2)
	}
}

func TestTombstonesArePrunedUnderAFloor(t *testing.T) {
	db := testdb.NewWithRoot(t)
	db.SetBounds(1000, 3)
	id := testdb.Incarnation(t, db)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		testdb.Publish(t, db, "blog", name, "x")
	}
	start := testdb.Head(t, db)
	for _, name := range []string{"a", "b", "c", "d"} {
		require.NoError(t, testdb.ErrorOf(db.Functions().Delete(t.Context(), root, "blog", name, 0)))
	}
	d, err := db.Catalog().Delta(t.Context(), "", id, start)
	require.NoError(t, err)
	require.True(t, d.Full, "the tombstone of a is gone")
	d, err = db.Catalog().Delta(t.Context(), "", id, start+1)
	require.NoError(t, err)
	require.False(t, d.Full)
	require.Len(t, d.Gone, 3)
}

func TestSources(t *testing.T) {
	db := testdb.NewWithRoot(t)
	var want []picloud.Digest
	for i := range 150 {
		want = append(want, testdb.Publish(t, db, "blog", "f", string(rune('a'+i))).Version.Digest)
	}
	missing := picloud.DigestOf([]byte("missing"))
	got, err := db.Catalog().Sources(t.Context(), append(want, missing))
	require.NoError(t, err)
	require.Len(t, got, 150)
	for _, digest := range want {
		require.Equal(t, digest, picloud.DigestOf(got[digest]))
	}
	got, err = db.Catalog().Sources(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, got)
}
