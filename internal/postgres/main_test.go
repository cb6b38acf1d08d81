package postgres_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

var root = testdb.Root

// newDB returns a database of its own, of which root is the cluster admin.
func newDB(t testing.TB) *postgres.DB {
	t.Helper()
	return openDB(t, testdb.DSN(t))
}

// openDB is newDB for the database of a DSN.
func openDB(t testing.TB, dsn string) *postgres.DB {
	t.Helper()
	db := testdb.Open(t, dsn)
	testdb.AddRoot(t, db)
	return db
}

// wide is newDB with enough connections for real concurrency.
func wide(t testing.TB) *postgres.DB {
	t.Helper()
	dsn := testdb.DSN(t)
	openDB(t, dsn)
	db, err := postgres.Open(postgres.Options{DSN: dsn, MaxConns: 16})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

// connect opens a plain connection, to look behind the stores.
func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func newToken() []byte {
	hash := sha256.Sum256([]byte(rand.Text()))
	return hash[:]
}

// user makes a user and returns it as an actor.
func user(t testing.TB, db *postgres.DB, name string) picloud.Actor {
	t.Helper()
	_, err := db.Users().Create(t.Context(), root, name, false, newToken())
	require.NoError(t, err)
	return picloud.Actor{User: name}
}

// clusterAdmin makes a user that is a cluster admin.
func clusterAdmin(t testing.TB, db *postgres.DB, name string) picloud.Actor {
	t.Helper()
	_, err := db.Users().Create(t.Context(), root, name, true, newToken())
	require.NoError(t, err)
	return picloud.Actor{User: name, Admin: true}
}

// member makes a user that has a role in an app. An owner takes over from
// root, who made the app, so that the app has the owners that the test gave it.
func member(t testing.TB, db *postgres.DB, app, name string, role picloud.Role) picloud.Actor {
	t.Helper()
	actor := user(t, db, name)
	_, err := db.Members().Add(t.Context(), root, app, name, role)
	require.NoError(t, err)
	if role == owner {
		leave(t, db, app)
	}
	return actor
}

// leave ends root's membership of an app.
func leave(t testing.TB, db *postgres.DB, app string) {
	t.Helper()
	if err := db.Members().Remove(t.Context(), root, app, root.User); !errors.Is(err, picloud.ErrNotFound) {
		require.NoError(t, err)
	}
}

func app(t testing.TB, db *postgres.DB, name string) {
	t.Helper()
	_, err := db.Apps().Create(t.Context(), root, name)
	require.NoError(t, err)
}

func publish(t testing.TB, db *postgres.DB, app, function, source string) picloud.Published {
	t.Helper()
	p, err := db.Versions().Publish(t.Context(), root, picloud.Publication{
		App: app, Function: function, Source: []byte(source), Create: true, Deploy: true,
	})
	require.NoError(t, err)
	return p
}

// errOf is the error of a change whose revision does not matter.
func errOf(_ int64, err error) error { return err }

func requireCode(t testing.TB, code picloud.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, picloud.CodeOf(err), "%v", err)
}

// head returns the catalog's revision.
func head(t testing.TB, db *postgres.DB) int64 {
	t.Helper()
	d, err := db.Catalog().Delta(t.Context(), "", "", 0)
	require.NoError(t, err)
	return d.Rev
}
