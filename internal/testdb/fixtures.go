package testdb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/store"
)

// NewWithRoot returns a database of its own, of which root is the cluster admin.
func NewWithRoot(t testing.TB) *store.DB {
	t.Helper()
	return OpenWithRoot(t, DSN(t))
}

// OpenWithRoot is NewWithRoot for the database of a DSN.
func OpenWithRoot(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db := Open(t, dsn)
	AddRoot(t, db)
	return db
}

// Wide is NewWithRoot with enough connections for real concurrency.
func Wide(t testing.TB) *store.DB {
	t.Helper()
	dsn := DSN(t)
	OpenWithRoot(t, dsn)
	db, err := store.Open(postgres.Options{DSN: dsn, MaxConns: 16})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

// Connect opens a plain connection, to look behind the stores.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// TokenHash is the hash of some token.
func TokenHash() []byte {
	hash := sha256.Sum256([]byte(rand.Text()))
	return hash[:]
}

// User makes a user and returns it as an actor.
func User(t testing.TB, db *store.DB, name string) picloud.Actor {
	t.Helper()
	_, err := db.Users().Create(t.Context(), Root, name, false, TokenHash())
	require.NoError(t, err)
	return picloud.Actor{User: name}
}

// ClusterAdmin makes a user that is a cluster admin.
func ClusterAdmin(t testing.TB, db *store.DB, name string) picloud.Actor {
	t.Helper()
	_, err := db.Users().Create(t.Context(), Root, name, true, TokenHash())
	require.NoError(t, err)
	return picloud.Actor{User: name, Admin: true}
}

// Member makes a user that has a role in an app. An owner takes over from
// Root, who made the app, so that the app has the owners that the test gave it.
func Member(t testing.TB, db *store.DB, app, name string, role picloud.Role) picloud.Actor {
	t.Helper()
	actor := User(t, db, name)
	_, err := db.Members().Add(t.Context(), Root, app, name, role)
	require.NoError(t, err)
	if role == picloud.RoleOwner {
		Leave(t, db, app)
	}
	return actor
}

// Leave ends root's membership of an app.
func Leave(t testing.TB, db *store.DB, app string) {
	t.Helper()
	if err := db.Members().Remove(t.Context(), Root, app, Root.User); !errors.Is(err, picloud.ErrNotFound) {
		require.NoError(t, err)
	}
}

// App makes an app.
func App(t testing.TB, db *store.DB, name string) {
	t.Helper()
	_, err := db.Apps().Create(t.Context(), Root, name)
	require.NoError(t, err)
}

// Publish makes source code the live version of a function; app and function are
// made when there are none.
func Publish(t testing.TB, db *store.DB, app, function, source string) picloud.Published {
	t.Helper()
	p, err := db.Versions().Publish(t.Context(), Root, picloud.Publication{
		App: app, Function: function, Source: []byte(source), Create: true, Deploy: true,
	})
	require.NoError(t, err)
	return p
}

// ErrorOf is the error of a change whose revision does not matter.
func ErrorOf(_ int64, err error) error { return err }

// RequireCode requires an error of a code.
func RequireCode(t testing.TB, code picloud.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, picloud.CodeOf(err), "%v", err)
}

// Head returns the catalog's revision.
func Head(t testing.TB, db *store.DB) int64 {
	t.Helper()
	d, err := db.Catalog().Delta(t.Context(), "", "", 0)
	require.NoError(t, err)
	return d.Rev
}

// Cast makes the app blog with a member of each role, and a stranger.
func Cast(t *testing.T, db *store.DB) map[picloud.Role]picloud.Actor {
	t.Helper()
	App(t, db, "blog")
	out := map[picloud.Role]picloud.Actor{"": User(t, db, "stranger")}
	for _, role := range picloud.Roles {
		out[role] = Member(t, db, "blog", string(role), role)
	}
	return out
}

// Incarnation returns the catalog's incarnation.
func Incarnation(t testing.TB, db *store.DB) string {
	t.Helper()
	d, err := db.Catalog().Delta(t.Context(), "", "", 0)
	require.NoError(t, err)
	return d.Incarnation
}

// Unchanged runs what must leave the catalog as it is.
func Unchanged(t testing.TB, db *store.DB, fn func()) {
	t.Helper()
	before := Head(t, db)
	fn()
	require.Equal(t, before, Head(t, db), "nodes are not woken for nothing")
}

// ToLimits is a change of limits to these.
func ToLimits(limits picloud.Limits) func(picloud.Limits) (picloud.Limits, error) {
	return func(picloud.Limits) (picloud.Limits, error) { return limits, nil }
}

// RequireDown requires the error that says that the database is down.
func RequireDown(t testing.TB, err error) {
	t.Helper()
	RequireCode(t, picloud.CodeDatabaseDown, err)
	require.ErrorIs(t, err, picloud.ErrUnavailable)
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 2*time.Second, e.RetryAfter)
}

// RoleOf returns a member's role, empty when there is none.
func RoleOf(t testing.TB, db *store.DB, app, user string) picloud.Role {
	t.Helper()
	m, err := db.Members().Get(t.Context(), Root, app, user)
	if errors.Is(err, picloud.ErrNotFound) {
		return ""
	}
	require.NoError(t, err)
	return m.Role
}

// Served reads the whole catalog: live versions by function.
func Served(t testing.TB, db *store.DB) map[string]int {
	t.Helper()
	d, err := db.Catalog().Delta(t.Context(), "", "", 0)
	require.NoError(t, err)
	require.True(t, d.Full)
	out := map[string]int{}
	for _, r := range d.Routes {
		out[r.App+"/"+r.Function] = r.Version
	}
	return out
}
