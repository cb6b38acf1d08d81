package people

import (
	"context"
	"crypto/sha256"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Users are people and machines with an API token. A token has 256 random bits, and
// the database keeps its SHA-256. Timing of the index reveals nothing useful about
// such a hash, so the lookup needs no constant-time comparison.
type Users struct{ db *postgres.DB }

const (
	userColumns = `name, admin, created_at`

	sqlUserCreate = `
INSERT INTO usr (name, admin, token_hash) SELECT $2, $3, $4 FROM usr WHERE ` + postgres.IsAdmin + `
ON CONFLICT (name) DO NOTHING RETURNING ` + userColumns

	sqlUserGet = `SELECT ` + userColumns + ` FROM usr
WHERE name = $2 AND ($3 = $2 OR EXISTS (SELECT 1 FROM usr WHERE ` + postgres.IsAdmin + `))`

	sqlUserList = `SELECT ` + userColumns + ` FROM usr
WHERE name > $2 AND EXISTS (SELECT 1 FROM usr WHERE ` + postgres.IsAdmin + `) ORDER BY name LIMIT $3`

	sqlUserAdmins = `SELECT name FROM usr WHERE admin ORDER BY name LIMIT 20`

	sqlUserByToken = `SELECT ` + userColumns + ` FROM usr WHERE token_hash = $1`

	// sqlUserSetToken gives user $2 a token on behalf of actor $4: itself, or a
	// cluster admin. It runs after sqlUserLock.
	sqlUserSetToken = `
WITH facts AS (
    SELECT $4 = $2 OR EXISTS (SELECT 1 FROM usr WHERE ` + postgres.IsAdmin + `) AS allowed
), changed AS (
    UPDATE usr SET token_hash = $3 FROM facts WHERE name = $2 AND allowed RETURNING name
)
SELECT allowed, EXISTS (SELECT 1 FROM changed) FROM facts`

	// sqlClusterLock serializes bootstraps. The statement behind it has a snapshot
	// that is newer than the lock, so it sees an earlier bootstrap.
	sqlClusterLock = `SELECT id FROM cluster FOR UPDATE`

	sqlUserBootstrap = `
INSERT INTO usr (name, admin, token_hash) SELECT $1, true, $2 WHERE NOT EXISTS (SELECT 1 FROM usr)`

	// sqlUserLock locks the user and all admins. Two admins who delete each other
	// therefore come one after the other, and nobody grants the user a role
	// meanwhile. An actor that is not locked here is not an admin; the next statement
	// then refuses it.
	sqlUserLock = `SELECT name FROM usr WHERE name = $1 OR admin ORDER BY name FOR UPDATE`

	sqlUserAppsLock = `
SELECT name FROM app WHERE name IN (SELECT app FROM member WHERE usr = $1) ORDER BY name FOR NO KEY UPDATE`

	// sqlUserDelete refuses the last admin and the sole owner of an app. It runs
	// after both locks, so that its counts are up to date.
	sqlUserDelete = `
WITH facts AS (
    SELECT EXISTS (SELECT 1 FROM usr WHERE ` + postgres.IsAdmin + `) AS allowed,
           EXISTS (SELECT 1 FROM usr WHERE name = $2) AS present,
           NOT EXISTS (SELECT 1 FROM usr WHERE admin AND name <> $2) AS last_admin,
           (SELECT min(m.app) FROM member m WHERE m.usr = $2 AND m.role = 'owner' AND NOT EXISTS (
               SELECT 1 FROM member o WHERE o.app = m.app AND o.role = 'owner' AND o.usr <> $2)) AS sole_owner_of
), verdict AS (
    SELECT CASE
        WHEN NOT allowed THEN 'needs cluster admin'
        WHEN NOT present THEN 'no user'
        WHEN last_admin THEN 'last admin'
        WHEN sole_owner_of IS NOT NULL THEN 'sole owner'
        ELSE 'ok' END AS word, coalesce(sole_owner_of, '') AS app FROM facts
), changed AS (
    UPDATE app SET members_rev = members_rev + 1 FROM verdict
    WHERE word = 'ok' AND app.name IN (SELECT app FROM member WHERE usr = $2)
), gone AS (
    DELETE FROM usr USING verdict WHERE word = 'ok' AND usr.name = $2
)
SELECT word, app FROM verdict`
)

func userRow(row pgx.CollectableRow) (u picloud.User, err error) {
	err = row.Scan(&u.Name, &u.Admin, &u.CreatedAt)
	return u, err
}

func checkHash(s postgres.Subject, hash []byte) error {
	if len(hash) == sha256.Size {
		return nil
	}
	return s.Fail(picloud.CodeInvalid, "the token's hash is not a SHA-256", "")
}

// Create makes a user with the given token. Cluster admins may.
func (u Users) Create(ctx context.Context, actor picloud.Actor, name string, admin bool, tokenHash []byte) (picloud.User, error) {
	s := postgres.About("create user", name)
	if err := picloud.CheckName("name", name); err != nil {
		return picloud.User{}, err
	}
	if err := checkHash(s, tokenHash); err != nil {
		return picloud.User{}, err
	}
	return postgres.CreateAsAdmin(ctx, u.db, s, actor, userRow, sqlUserCreate, name, admin, tokenHash)
}

// Get returns a user. Cluster admins may, and the user.
func (u Users) Get(ctx context.Context, actor picloud.Actor, name string) (picloud.User, error) {
	s := postgres.About("get user", name)
	if !actor.Admin && actor.User != name {
		return picloud.User{}, s.AdminsOnly()
	}
	if !picloud.ValidName(name) {
		return picloud.User{}, s.NotFound()
	}
	users, err := postgres.Rows(ctx, u.db, u.db.API(), s, userRow, sqlUserGet, postgres.ActingAdmin(actor), name, actor.User)
	if err == nil && len(users) == 0 {
		err = s.NotFound()
	}
	if err != nil {
		return picloud.User{}, err
	}
	return users[0], nil
}

// List returns the users by name. Cluster admins may.
func (u Users) List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.User, next string, err error) {
	s := postgres.About("list users", "")
	if !actor.Admin {
		return nil, "", s.AdminsOnly()
	}
	after, err := postgres.NameCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = postgres.Rows(ctx, u.db, u.db.API(), s, userRow, sqlUserList, postgres.ActingAdmin(actor), after, page.Size()+1)
	items, next = postgres.Cut(page, items, func(u picloud.User) string { return u.Name })
	return items, next, err
}

// Admins returns the names of the first cluster admins, at most 20. It is for whoever
// owns a node's machine, and asks for no actor.
func (u Users) Admins(ctx context.Context) ([]string, error) {
	return postgres.Rows(ctx, u.db, u.db.API(), postgres.About("list cluster admins", ""), pgx.RowTo[string], sqlUserAdmins)
}

// ByToken returns the user whose token has the given hash, or ErrNotFound.
func (u Users) ByToken(ctx context.Context, hash []byte) (picloud.User, error) {
	s := postgres.About("find user by token", "")
	users, err := postgres.Rows(ctx, u.db, u.db.API(), s, userRow, sqlUserByToken, hash)
	if err == nil && len(users) == 0 {
		err = s.NotFound()
	}
	if err != nil {
		return picloud.User{}, err
	}
	return users[0], nil
}

// SetToken replaces a user's token. Cluster admins may, and the user.
func (u Users) SetToken(ctx context.Context, actor picloud.Actor, name string, hash []byte) error {
	return u.setToken(ctx, actor, name, hash, u.db.Batch)
}

// SetOwnToken replaces a user's token on behalf of whoever owns the machine of a node, which
// need not manage the cluster.
func (u Users) SetOwnToken(ctx context.Context, name string, hash []byte) error {
	return u.setToken(ctx, picloud.Actor{User: name}, name, hash, u.db.AnyBatch)
}

type batch func(ctx context.Context, s postgres.Subject, queue func(*pgx.Batch), read func(pgx.BatchResults) error) error

func (u Users) setToken(ctx context.Context, actor picloud.Actor, name string, hash []byte, send batch) error {
	s := postgres.About("replace token of user", name)
	if !actor.Admin && actor.User != name {
		return s.AdminsOnly()
	}
	if err := checkHash(s, hash); err != nil {
		return err
	}
	if !picloud.ValidName(name) {
		return s.NotFound()
	}
	var allowed, changed bool
	err := send(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlUserLock, name)
		b.Queue(sqlUserSetToken, postgres.ActingAdmin(actor), name, hash, actor.User)
	}, func(results pgx.BatchResults) error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		return results.QueryRow().Scan(&allowed, &changed)
	})
	switch {
	case err != nil:
		return err
	case !allowed:
		return s.AdminsOnly()
	case !changed:
		return s.NotFound()
	}
	return nil
}

// Bootstrap makes the first user, an admin, and reports whether it did: it
// does nothing when there is any user.
func (u Users) Bootstrap(ctx context.Context, name string, hash []byte) (created bool, err error) {
	s := postgres.About("create first user", name)
	if err := picloud.CheckName("name", name); err != nil {
		return false, err
	}
	if err := checkHash(s, hash); err != nil {
		return false, err
	}
	err = u.db.AnyBatch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlClusterLock)
		b.Queue(sqlUserBootstrap, name, hash)
	}, func(results pgx.BatchResults) error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		tag, err := results.Exec()
		created = tag.RowsAffected() == 1
		return err
	})
	return created && err == nil, err
}

// Delete removes a user and all its memberships. It refuses the last cluster
// admin, and with CodeLastOwner the sole owner of an app. Cluster admins may.
func (u Users) Delete(ctx context.Context, actor picloud.Actor, name string) error {
	s := postgres.About("delete user", name)
	if !actor.Admin {
		return s.AdminsOnly()
	}
	if !picloud.ValidName(name) {
		return s.NotFound()
	}
	var word, app string
	err := u.db.Batch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlUserLock, name)
		b.Queue(sqlUserAppsLock, name)
		b.Queue(sqlUserDelete, postgres.ActingAdmin(actor), name)
	}, func(results pgx.BatchResults) error {
		for range 2 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		return results.QueryRow().Scan(&word, &app)
	})
	if err != nil {
		return err
	}
	switch word {
	case "needs cluster admin":
		return s.AdminsOnly()
	case "no user":
		return s.NotFound()
	case "last admin":
		return s.Fail(picloud.CodeConflict, "it is the last cluster admin", "make another cluster admin first")
	case "sole owner":
		return s.Fail(picloud.CodeLastOwner, "it is the only owner of app "+app, "make somebody else owner first")
	}
	return nil
}
