package fleet_test

import (
	"crypto/rand"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// fresh is node n with an id that no other test has: roles belong to the server, which tests
// share.
func fresh(t *testing.T, db *store.DB, n int) picloud.Node {
	t.Helper()
	out := node(n)
	require.NoError(t, db.API().QueryRow(t.Context(), `SELECT gen_random_uuid()::text`).Scan(&out.ID))
	return out
}

// asRole is the DSN of a role of the shared server.
func asRole(t *testing.T, dsn, role string) string {
	t.Helper()
	made, err := postgres.DSNOf(dsn, role, "swordfish")
	require.NoError(t, err)
	return made
}

// lacks asserts that a statement is not permitted.
func lacks(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql, args...)
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg, sql)
	require.Equal(t, "42501", pg.Code, "%s: %s", sql, pg.Message)
}

// TestANodeThatServesHasLeastRights: under its role a node can do all that serving takes, and
// nothing else.
func TestANodeThatServesHasLeastRights(t *testing.T) {
	dsn := testdb.DSN(t)
	owner := testdb.OpenWithRoot(t, dsn)
	require.NoError(t, owner.Nodes().Report(t.Context(), fresh(t, owner, 1)))
	other, self := fresh(t, owner, 3), fresh(t, owner, 2)
	testdb.Join(t, owner, testdb.Root, self)
	testdb.Join(t, owner, testdb.Root, other)
	_, err := owner.Apps().Create(t.Context(), testdb.Root, "shop")
	require.NoError(t, err)
	require.NoError(t, owner.Roles().Make(t.Context(), self.ID, picloud.RoleServing, "swordfish"))
	require.NoError(t, owner.Roles().Make(t.Context(), self.ID, picloud.RoleServing, "swordfish"), "once more")

	role := fleet.RoleName(self.ID)
	db, err := store.Open(postgres.Options{DSN: asRole(t, dsn, role)})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	require.NoError(t, db.Migrated(t.Context()))
	self.Rev = 7
	self.Place = "here"
	require.NoError(t, db.Nodes().ReportOwn(t.Context(), self))
	copied := self
	copied.Place = "there"
	testdb.RequireCode(t, picloud.CodeConflict, db.Nodes().ReportOwn(t.Context(), copied))
	testdb.RequireCode(t, picloud.CodeNotInvited, db.Nodes().ReportOwn(t.Context(), other))
	taken := self
	taken.Name = other.Name
	testdb.RequireCode(t, picloud.CodeConflict, db.Nodes().ReportOwn(t.Context(), taken))
	require.NoError(t, db.Nodes().StopOwn(t.Context(), other), "it is ignored")
	_, err = db.Catalog().Delta(t.Context(), self.ID, "", 0)
	require.NoError(t, err)
	_, err = db.Catalog().Sources(t.Context(), []picloud.Digest{{1}})
	require.NoError(t, err)
	_, err = db.Cluster().KeyID(t.Context())
	require.NoError(t, err)
	members, err := db.Cluster().Members(t.Context())
	require.NoError(t, err)
	require.Len(t, members, 3)
	nodes, err := db.Nodes().List(t.Context())
	require.NoError(t, err)
	for _, n := range nodes {
		require.False(t, n.ID == other.ID && n.Stopped, "a node speaks for itself only")
		require.False(t, n.ID == self.ID && n.Rev != 7)
	}

	kv := db.KV().Of("shop", picloud.KVQuota{})
	_, err = kv.Set(t.Context(), "k", []byte("\x61a"), time.Hour)
	require.NoError(t, err)
	_, err = kv.Increment(t.Context(), "n", 2, 0)
	require.NoError(t, err)
	_, found, err := kv.Get(t.Context(), "k", nil)
	require.NoError(t, err)
	require.True(t, found)
	_, _, err = kv.List(t.Context(), "", 10, "", nil)
	require.NoError(t, err)
	_, err = kv.Delete(t.Context(), "k", 0)
	require.NoError(t, err)
	_, err = db.KV().Of("no-app", picloud.KVQuota{}).Set(t.Context(), "k", []byte("\x61a"), 0)
	testdb.RequireCode(t, picloud.CodeNotFound, err)

	heard := make(chan string, 16)
	listener := db.Listen([]string{postgres.NodeChannel}, func(channel, _ string) { heard <- channel })
	require.NoError(t, listener.Start(t.Context()))
	defer listener.Stop()
	require.Empty(t, <-heard)
	self.Rev++
	require.NoError(t, db.Nodes().ReportOwn(t.Context(), self))
	require.Equal(t, postgres.NodeChannel, <-heard)
	require.NoError(t, db.Nodes().StopOwn(t.Context(), self))

	conn := testdb.Connect(t, asRole(t, dsn, role))
	for _, sql := range []string{
		`SELECT ca_key FROM cluster`, `SELECT gossip_keys FROM cluster`, `SELECT * FROM cluster`, `SELECT name FROM usr`, `SELECT * FROM member`,
		`SELECT secret FROM invitation`, `SELECT * FROM invitation`, `SELECT key_digest FROM node`, `SELECT * FROM deployment`,
		`UPDATE app SET rev = 0`, `DELETE FROM app`, `UPDATE function SET live = 1`, `INSERT INTO code (digest, source) VALUES ('x', 'x')`,
		`UPDATE node SET role = 'manager'`, `DELETE FROM node`, `UPDATE cluster SET key_id = NULL`, `DELETE FROM removed_node`,
		`DELETE FROM secret`, `UPDATE catalog_head SET rev = 0`, `INSERT INTO usr (name, admin) VALUES ('eve', true)`, `DROP TABLE kv`,
		`TRUNCATE kv`, `CREATE TABLE mine (a int)`, `CREATE ROLE eve`, `SELECT pg_read_file('/etc/passwd')`,
	} {
		lacks(t, conn, sql)
	}
	var limit int
	var timeouts []string
	require.NoError(t, owner.API().QueryRow(t.Context(), `SELECT rolconnlimit, rolconfig FROM pg_roles WHERE rolname = $1`, role).Scan(&limit, &timeouts))
	require.Equal(t, 8, limit)
	require.Contains(t, timeouts, "statement_timeout=10s")
	require.Contains(t, timeouts, "idle_in_transaction_session_timeout=15s")

	// A table of a later migration is closed until the rights name it.
	_, err = owner.API().Exec(t.Context(), `CREATE TABLE later (a int); UPDATE cluster SET granted = 'of another binary'`)
	require.NoError(t, err)
	lacks(t, conn, `SELECT * FROM later`)
	require.NoError(t, owner.Roles().Keep(t.Context(), ""))
	var granted string
	require.NoError(t, owner.API().QueryRow(t.Context(), `SELECT granted FROM cluster`).Scan(&granted))
	require.NotEqual(t, "of another binary", granted)
	_, err = kv.Increment(t.Context(), "n", 2, 0)
	require.NoError(t, err, "nothing was taken away")

	// The node is removed: its sessions end, and there are no new ones.
	_, err = owner.API().Exec(t.Context(), `WITH gone AS (DELETE FROM node WHERE id = $1::uuid RETURNING id, name) INSERT INTO removed_node (id, name, removed_by) SELECT id, name, 'root' FROM gone`, self.ID)
	require.NoError(t, err)
	require.NoError(t, owner.Roles().LockOut(t.Context()))
	require.Error(t, conn.Ping(t.Context()))
	_, err = pgx.Connect(t.Context(), asRole(t, dsn, role))
	require.ErrorContains(t, err, "not permitted to log in")
	require.NoError(t, owner.Roles().LockOut(t.Context()), "once more")
}

// TestAManagersRoleActsAsTheOwner: what it makes belongs to the owner, and a node whose role
// changes loses what it had.
func TestAManagersRoleActsAsTheOwner(t *testing.T) {
	dsn := testdb.DSN(t)
	owner := testdb.OpenWithRoot(t, dsn)
	self := fresh(t, owner, 2)
	require.NoError(t, owner.Roles().Make(t.Context(), self.ID, picloud.RoleManager, "swordfish"))
	conn := testdb.Connect(t, asRole(t, dsn, fleet.RoleName(self.ID)))
	_, err := conn.Exec(t.Context(), `CREATE TABLE made (a int)`)
	require.NoError(t, err)
	var table, cluster, session string
	require.NoError(t, conn.QueryRow(t.Context(), `
SELECT (SELECT tableowner FROM pg_tables WHERE tablename = 'made' AND schemaname = current_schema()),
    (SELECT tableowner FROM pg_tables WHERE tablename = 'cluster' AND schemaname = current_schema()), session_user`).Scan(&table, &cluster, &session))
	require.Equal(t, cluster, table)
	require.Equal(t, fleet.RoleName(self.ID), session)

	require.NoError(t, owner.Roles().Make(t.Context(), self.ID, picloud.RoleServing, ""))
	again := testdb.Connect(t, asRole(t, dsn, fleet.RoleName(self.ID)))
	lacks(t, again, `SELECT * FROM usr`)
	_, err = again.Exec(t.Context(), `SELECT * FROM kv`)
	require.NoError(t, err)
	require.NoError(t, owner.Roles().Make(t.Context(), self.ID, picloud.RoleManager, ""))
	again = testdb.Connect(t, asRole(t, dsn, fleet.RoleName(self.ID)))
	_, err = again.Exec(t.Context(), `SELECT * FROM usr`)
	require.NoError(t, err)
}

func TestRoleNames(t *testing.T) {
	db := testdb.New(t)
	require.Equal(t, "picloud_n_6f1c6f5e6f5c4a549f6e2b8c3f1d0a11", fleet.RoleName("6F1C6F5E-6f5c-4a54-9f6e-2b8c3f1d0a11"))
	var name string
	require.NoError(t, db.API().QueryRow(t.Context(), `SELECT node_role_name($1)`, node(7).ID).Scan(&name))
	require.Equal(t, fleet.RoleName(node(7).ID), name, "the schema says the same")
	for _, bad := range []string{"", "6f1c6f5e", "'; DROP TABLE kv", "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a1x"} {
		require.Empty(t, fleet.RoleName(bad))
	}
}

// TestAnOwnerThatIsNoSuperuser: a role that may make roles is enough for nodes that serve
// only. One that may not is told so.
func TestAnOwnerThatIsNoSuperuser(t *testing.T) {
	root := testdb.Connect(t, testdb.DSN(t))
	for name, may := range map[string]bool{"CREATEROLE": true, "NOCREATEROLE": false} {
		dsn := testdb.DSN(t)
		own := "owner_" + rand.Text()[:12]
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		quoted := pgx.Identifier{own}.Sanitize()
		_, err = root.Exec(t.Context(), `CREATE ROLE `+quoted+` LOGIN `+name+`; ALTER SCHEMA `+pgx.Identifier{u.Query().Get("search_path")}.Sanitize()+` OWNER TO `+quoted)
		require.NoError(t, err)
		dsn = asRole(t, dsn, own)
		db := testdb.OpenWithRoot(t, dsn)
		self := fresh(t, db, 1)
		possible, err := db.Roles().Possible(t.Context())
		require.NoError(t, err)
		require.Equal(t, may, possible)
		require.NoError(t, db.Roles().Keep(t.Context(), ""))
		require.NoError(t, db.Nodes().Report(t.Context(), self))
		err = db.Roles().Make(t.Context(), self.ID, picloud.RoleServing, "swordfish")
		if !may {
			testdb.RequireCode(t, picloud.CodeForbidden, err)
			continue
		}
		require.NoError(t, err)
		conn := testdb.Connect(t, asRole(t, dsn, fleet.RoleName(self.ID)))
		lacks(t, conn, `SELECT * FROM usr`)
		_, err = conn.Exec(t.Context(), `SELECT * FROM kv`)
		require.NoError(t, err)
		require.NoError(t, db.Nodes().Stop(t.Context(), self))
		require.NoError(t, db.Nodes().Remove(t.Context(), testdb.Root, self.Name, false))
		require.NoError(t, db.Roles().LockOut(t.Context()))
		require.Error(t, conn.Ping(t.Context()))
		require.NoError(t, db.Roles().Make(t.Context(), fresh(t, db, 2).ID, picloud.RoleManager, "swordfish"))
	}
}
