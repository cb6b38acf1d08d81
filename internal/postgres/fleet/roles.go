package fleet

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/migrations"
)

// Roles are the database roles of nodes. Each node that an invitation let in has one of its
// own: that of a node which serves functions only has the rights that serving needs, and
// that of a manager acts as the owner of the tables.
type Roles struct{ db *postgres.DB }

// RoleName returns the name of a node's database role; it is empty for what is no UUID. The
// function node_role_name of the schema makes the same.
func RoleName(node string) string {
	digits := strings.ReplaceAll(strings.ToLower(node), "-", "")
	if raw, err := hex.DecodeString(digits); err != nil || len(raw) != 16 {
		return ""
	}
	return "picloud_n_" + digits
}

const (
	// sqlRoleParameters hands values to a DO block, which takes no parameters: as settings of
	// the transaction. The block quotes them.
	sqlRoleParameters = `
SELECT set_config('picloud.role', $1, true), set_config('picloud.verifier', $2, true),
    set_config('picloud.group', 'picloud_node_' || left(replace(id::text, '-', ''), 12), true)
FROM cluster`

	// sqlRoleLock orders the changes of roles: those of a server are common to its databases.
	sqlRoleLock = `SELECT pg_advisory_xact_lock(7947, hashtext('picloud roles'))`

	// sqlGranted reports whether the rights of the group were granted, and whether they are
	// those of digest $1. A database that was restored elsewhere has no group there.
	sqlGranted = `
SELECT granted IS NOT NULL, granted IS NOT DISTINCT FROM $1
    AND to_regrole('picloud_node_' || left(replace(id::text, '-', ''), 12)) IS NOT NULL
FROM cluster`

	sqlGrantedSet = `UPDATE cluster SET granted = $1 WHERE granted IS DISTINCT FROM $1`

	// sqlGrant makes the group of the nodes that serve functions only, and gives it what
	// they need and nothing else. A table of a later migration is closed to them until it
	// is named here. Roles belong to the server and not to a database, so the group bears
	// the cluster's id: a node of another cluster on the same server has no rights here.
	sqlGrant = `
DO $grant$
DECLARE
    node_group text := current_setting('picloud.group');
    one text;
BEGIN
    IF to_regrole(quote_ident(node_group)) IS NULL THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', node_group);
    END IF;
    FOREACH one IN ARRAY ARRAY['TABLES', 'SEQUENCES', 'ROUTINES'] LOOP
        EXECUTE format('REVOKE ALL ON ALL %s IN SCHEMA %I FROM %I', one, current_schema(), node_group);
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), node_group);
    FOREACH one IN ARRAY ARRAY[
        'SELECT ON migration, catalog_head, function, version, code, tombstone, secret',
        'SELECT (name, settings, env, data_key, rev) ON app',
        'SELECT (one, id, name, founder, key_id, gossip_rev) ON cluster',
        'SELECT (id, name, version, rev, limits, started_at, seen_at, stopped_at, role, arch, address, drained_at) ON node',
        'SELECT (id, name, removed_at) ON removed_node',
        'SELECT, INSERT, UPDATE, DELETE ON kv',
        'SELECT, INSERT, UPDATE ON kv_usage',
        'USAGE ON SEQUENCE kv_version',
        'EXECUTE ON FUNCTION node_report, node_stop, node_role_name, app_hold'
    ] LOOP
        EXECUTE format('GRANT %s TO %I', one, node_group);
    END LOOP;
END $grant$`

	// sqlRoleServing makes or changes the role of a node that serves functions only. The
	// keepalives free the places of a board whose power was cut; the owner becomes a member,
	// so that it may end the role's sessions.
	sqlRoleServing = `
DO $make$
DECLARE
    node_role text := current_setting('picloud.role');
    one text;
BEGIN
    IF to_regrole(quote_ident(node_role)) IS NULL THEN
        EXECUTE format('CREATE ROLE %I', node_role);
    ELSIF pg_has_role(node_role, current_user, 'MEMBER') THEN -- it was a manager
        EXECUTE format('REVOKE %I FROM %I', current_user, node_role);
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN CONNECTION LIMIT 8 PASSWORD %L',
        node_role, nullif(current_setting('picloud.verifier'), ''));
    EXECUTE format('ALTER ROLE %I RESET ALL', node_role);
    FOREACH one IN ARRAY ARRAY[
        'statement_timeout = ''10s''', 'idle_in_transaction_session_timeout = ''15s''',
        'tcp_keepalives_idle = 15', 'tcp_keepalives_interval = 5', 'tcp_keepalives_count = 3'
    ] LOOP
        EXECUTE format('ALTER ROLE %I SET %s', node_role, one);
    END LOOP;
    EXECUTE format('GRANT %I TO %I', current_setting('picloud.group'), node_role);
    IF NOT pg_has_role(current_user, node_role, 'USAGE') THEN
        EXECUTE format('GRANT %I TO %I', node_role, current_user);
    END IF;
END $make$`

	// sqlRoleManager makes or changes the role of a node that may become the manager. Its
	// sessions act as the owner, to whom everything belongs that they make.
	sqlRoleManager = `
DO $make$
DECLARE
    node_role text := current_setting('picloud.role');
    node_group text := current_setting('picloud.group');
BEGIN
    IF to_regrole(quote_ident(node_role)) IS NULL THEN
        EXECUTE format('CREATE ROLE %I', node_role);
    ELSE
        IF to_regrole(quote_ident(node_group)) IS NOT NULL AND pg_has_role(node_role, node_group, 'MEMBER') THEN -- it served only
            EXECUTE format('REVOKE %I FROM %I', node_group, node_role);
        END IF;
        IF EXISTS (SELECT 1 FROM pg_auth_members WHERE roleid = to_regrole(quote_ident(node_role)) AND member = to_regrole(quote_ident(current_user))) THEN
            EXECUTE format('REVOKE %I FROM %I', node_role, current_user);
        END IF;
    END IF;
    EXECUTE format('ALTER ROLE %I LOGIN CONNECTION LIMIT -1', node_role);
    IF current_setting('picloud.verifier') <> 'kept' THEN
        EXECUTE format('ALTER ROLE %I PASSWORD %L', node_role, nullif(current_setting('picloud.verifier'), ''));
    END IF;
    EXECUTE format('ALTER ROLE %I RESET ALL', node_role);
    EXECUTE format('GRANT %I TO %I', current_user, node_role);
    EXECUTE format('ALTER ROLE %I SET role = %L', node_role, current_user);
END $make$`

	// sqlRolesLock keeps the roles of removed nodes out.
	sqlRolesLock = `
DO $lock$
DECLARE
    gone text;
BEGIN
    FOR gone IN SELECT r.rolname FROM removed_node n JOIN pg_roles r ON r.rolname = node_role_name(n.id) WHERE r.rolcanlogin LOOP
        EXECUTE format('ALTER ROLE %I NOLOGIN', gone);
    END LOOP;
END $lock$`

	// sqlRolesEnd ends the sessions of removed nodes.
	sqlRolesEnd = `
SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a JOIN removed_node n ON a.usename = node_role_name(n.id)
WHERE pg_has_role(a.usesysid, 'USAGE')`

	// sqlRolesMissing lists the members but $1 that have no role: the database was restored
	// elsewhere.
	sqlRolesMissing = `
SELECT id::text, role::text FROM node
WHERE id::text <> $1 AND NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = node_role_name(id))`

	sqlRoleExists = `SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)`

	// sqlMayMakeRoles reports whether the owner may make roles.
	sqlMayMakeRoles = `SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user`
)

// grants is the digest of what the group may do. Another binary may grant something else.
func grants() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", migrations.Level(), sqlGrant))
	return hex.EncodeToString(sum[:8])
}

// Possible reports whether the server lets PiCloud make roles.
func (r Roles) Possible(ctx context.Context) (ok bool, err error) {
	s := postgres.About("look at the database role", "")
	err = r.db.Look(ctx, r.db.Duties(), s, func(ctx context.Context) error {
		return r.db.Duties().QueryRow(ctx, sqlMayMakeRoles).Scan(&ok)
	})
	return ok, err
}

// Make makes the role of a node, or changes it when the node joins again. With a password
// the node logs in by it; without one, the node that runs the server lets it in. What
// reaches the server is no password but what a password is checked with.
func (r Roles) Make(ctx context.Context, node string, as picloud.NodeRole, password string) error {
	s := postgres.About("make database role", RoleName(node))
	if s.Resource == "" {
		return s.Fail(picloud.CodeInvalid, "the id of the node is no UUID", "")
	}
	verifier := ""
	if password != "" {
		var err error
		if verifier, err = scram(password); err != nil {
			return fmt.Errorf("make database role: %w", err)
		}
	}
	making := sqlRoleManager
	if as == picloud.RoleServing {
		making = sqlRoleServing
		if err := r.grant(ctx, true); err != nil {
			return err
		}
	}
	return r.change(ctx, s, s.Resource, verifier, making)
}

// Promote gives the role of a node that served functions only the rights of a manager. Its
// password stays. Nothing is to be done for a node that shares the role of others.
func (r Roles) Promote(ctx context.Context, node string) error {
	s := postgres.About("change database role", RoleName(node))
	if s.Resource == "" {
		return s.Fail(picloud.CodeInvalid, "the id of the node is no UUID", "")
	}
	var own bool
	err := r.db.Look(ctx, r.db.Duties(), s, func(ctx context.Context) error {
		return r.db.Duties().QueryRow(ctx, sqlRoleExists, s.Resource).Scan(&own)
	})
	if err != nil || !own { // it shares the role of the others
		return err
	}
	return r.change(ctx, s, s.Resource, "kept", sqlRoleManager)
}

// Keep brings the roles in line with this binary and with the members: the rights of nodes
// that serve only, if there are any; the roles of members on a server that has lost them; and
// no way in for nodes that were removed. It changes nothing when all is as it should be. Host
// is the node that runs the server; empty: no node does.
func (r Roles) Keep(ctx context.Context, host string) error {
	if err := r.grant(ctx, false); err != nil {
		return err
	}
	if host != "" { // elsewhere the password of a role that is gone is gone too
		type member struct {
			id   string
			role picloud.NodeRole
		}
		missing, err := postgres.Rows(ctx, r.db, r.db.Duties(), postgres.About("list members without a database role", ""), func(row pgx.CollectableRow) (m member, err error) {
			err = row.Scan(&m.id, &m.role)
			return m, err
		}, sqlRolesMissing, host)
		if err != nil {
			return err
		}
		for _, m := range missing {
			if err := r.Make(ctx, m.id, m.role, ""); err != nil {
				return err
			}
		}
	}
	return r.LockOut(ctx)
}

// grant grants the group its rights, if they are not those of this binary. A group that
// nobody needed yet is made only when the first one does.
func (r Roles) grant(ctx context.Context, needed bool) error {
	s := postgres.About("grant rights to nodes", "")
	var some, right bool
	err := r.db.Look(ctx, r.db.Duties(), s, func(ctx context.Context) error {
		return r.db.Duties().QueryRow(ctx, sqlGranted, grants()).Scan(&some, &right)
	})
	if err != nil || right || !some && !needed {
		return err
	}
	return r.change(ctx, s, "", "", sqlGrant, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlGrantedSet, grants())
		return err
	})
}

// LockOut takes the database from the nodes that were removed: their roles cannot log in any
// more, and their sessions end.
func (r Roles) LockOut(ctx context.Context) error {
	s := postgres.About("lock out removed nodes", "")
	if err := r.change(ctx, s, "", "", sqlRolesLock); err != nil {
		return err
	}
	return r.db.Run(ctx, r.db.Duties(), s, func(ctx context.Context) error {
		_, err := r.db.Duties().Exec(ctx, sqlRolesEnd)
		return err
	})
}

// change runs a DO block in a transaction of its own, one at a time.
func (r Roles) change(ctx context.Context, s postgres.Subject, role, verifier, sql string, more ...func(context.Context, pgx.Tx) error) error {
	return r.db.Run(ctx, r.db.Duties(), s, func(ctx context.Context) error {
		err := pgx.BeginFunc(ctx, r.db.Duties(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, sqlRoleLock); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, sqlRoleParameters, role, verifier); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
			for _, do := range more {
				if err := do(ctx, tx); err != nil {
					return err
				}
			}
			return nil
		})
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42501" {
			return &picloud.Error{
				Code: picloud.CodeForbidden, Op: s.Op, Resource: s.Resource, Detail: "the server does not let PiCloud make roles", Err: err,
				Hint: "give the role of the DSN the right: ALTER ROLE name CREATEROLE",
			}
		}
		return err
	})
}

// scram makes of a password what PostgreSQL checks it with (RFC 5803).
func scram(password string) (string, error) {
	const rounds = 4096
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", err
	}
	sign := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text)) // never fails
		return h.Sum(nil)
	}
	stored := sha256.Sum256(sign("Client Key"))
	base := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, base(salt), base(stored[:]), base(sign("Server Key"))), nil
}
