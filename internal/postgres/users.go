package postgres

import (
	"context"
	"crypto/sha256"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// Users are people and machines with an API token. The database keeps the
// SHA-256 of a token, which has 256 random bits: nothing is gained by guessing
// at the index, so that a lookup needs no constant-time compare.
type Users struct{ db *DB }

// Users returns the store of users.
func (d *DB) Users() Users { return Users{d} }

const (
	userColumns = `name, admin, created_at`

	sqlUserCreate = `
INSERT INTO usr (name, admin, token_hash) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING RETURNING ` + userColumns

	sqlUserList = `SELECT ` + userColumns + ` FROM usr WHERE name > $1 ORDER BY name LIMIT $2`

	sqlUserByToken = `SELECT ` + userColumns + ` FROM usr WHERE token_hash = $1`

	sqlUserSetToken = `UPDATE usr SET token_hash = $2 WHERE name = $1`

	// sqlClusterLock orders bootstraps: only the statement after it sees what
	// the one before did.
	sqlClusterLock = `SELECT id FROM cluster FOR UPDATE`

	sqlUserBootstrap = `
INSERT INTO usr (name, admin, token_hash) SELECT $1, true, $2 WHERE NOT EXISTS (SELECT 1 FROM usr)`

	// sqlUserLock takes the user and all admins, so that two admins who delete
	// each other come one after the other, and keeps grants to the user out.
	sqlUserLock = `SELECT name FROM usr WHERE name = $1 OR admin ORDER BY name FOR UPDATE`

	sqlUserAppsLock = `
SELECT name FROM app WHERE name IN (SELECT app FROM member WHERE usr = $1) ORDER BY name FOR NO KEY UPDATE`

	// sqlUserDelete refuses the last admin and the sole owner of an app. It runs
	// after both locks, so that what it counts is the present.
	sqlUserDelete = `
WITH facts AS (
    SELECT u.admin AND (SELECT count(*) FROM usr WHERE admin) = 1 AS last_admin,
           (SELECT min(m.app) FROM member m WHERE m.usr = $1 AND m.role = 'owner' AND NOT EXISTS (
               SELECT 1 FROM member o WHERE o.app = m.app AND o.role = 'owner' AND o.usr <> $1)) AS sole_owner_of
    FROM usr u WHERE u.name = $1
), changed AS (
    UPDATE app SET members_rev = members_rev + 1 FROM facts
    WHERE NOT last_admin AND sole_owner_of IS NULL AND app.name IN (SELECT app FROM member WHERE usr = $1)
), gone AS (
    DELETE FROM usr USING facts WHERE usr.name = $1 AND NOT last_admin AND sole_owner_of IS NULL
)
SELECT last_admin, coalesce(sole_owner_of, '') FROM facts`
)

func userRow(row pgx.CollectableRow) (u picloud.User, err error) {
	err = row.Scan(&u.Name, &u.Admin, &u.CreatedAt)
	return u, err
}

func (s subject) needAdmin(actor picloud.Actor) error {
	if actor.Admin {
		return nil
	}
	return s.fail(picloud.CodeForbidden, "only cluster admins may", "ask a cluster admin")
}

func (s subject) checkHash(hash []byte) error {
	if len(hash) == sha256.Size {
		return nil
	}
	return s.fail(picloud.CodeInvalid, "the token's hash is no SHA-256", "")
}

// Create makes a user with the given token. Cluster admins may.
func (u Users) Create(ctx context.Context, actor picloud.Actor, name string, admin bool, tokenHash []byte) (picloud.User, error) {
	s := subject{"create user", name}
	if err := picloud.CheckName("name", name); err != nil {
		return picloud.User{}, err
	}
	if err := s.needAdmin(actor); err != nil {
		return picloud.User{}, err
	}
	if err := s.checkHash(tokenHash); err != nil {
		return picloud.User{}, err
	}
	users, err := rows(ctx, u.db, u.db.api, s, userRow, sqlUserCreate, name, admin, tokenHash)
	if err != nil {
		return picloud.User{}, err
	}
	if len(users) == 0 {
		return picloud.User{}, s.exists()
	}
	return users[0], nil
}

// List returns the users by name. Cluster admins may.
func (u Users) List(ctx context.Context, actor picloud.Actor, page picloud.Page) (items []picloud.User, next string, err error) {
	s := subject{"list users", ""}
	if err := s.needAdmin(actor); err != nil {
		return nil, "", err
	}
	after, err := nameCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = rows(ctx, u.db, u.db.api, s, userRow, sqlUserList, after, page.Size()+1)
	items, next = cut(page, items, func(u picloud.User) string { return u.Name })
	return items, next, err
}

// ByToken returns the user whose token has the given hash, or ErrNotFound.
func (u Users) ByToken(ctx context.Context, hash []byte) (picloud.User, error) {
	s := subject{"find user by token", ""}
	users, err := rows(ctx, u.db, u.db.api, s, userRow, sqlUserByToken, hash)
	if err == nil && len(users) == 0 {
		err = s.notFound()
	}
	if err != nil {
		return picloud.User{}, err
	}
	return users[0], nil
}

// SetToken replaces a user's token. Cluster admins may, and the user.
func (u Users) SetToken(ctx context.Context, actor picloud.Actor, name string, hash []byte) error {
	s := subject{"replace token of user", name}
	if actor.User != name {
		if err := s.needAdmin(actor); err != nil {
			return err
		}
	}
	if err := s.checkHash(hash); err != nil {
		return err
	}
	if !picloud.ValidName(name) {
		return s.notFound()
	}
	return u.db.run(ctx, u.db.api, s, func(ctx context.Context) error {
		tag, err := u.db.api.Exec(ctx, sqlUserSetToken, name, hash)
		if err == nil && tag.RowsAffected() == 0 {
			return s.notFound()
		}
		return err
	})
}

// Bootstrap makes the first user, an admin, and reports whether it did: it
// does nothing when there is any user.
func (u Users) Bootstrap(ctx context.Context, name string, hash []byte) (created bool, err error) {
	s := subject{"create first user", name}
	if err := picloud.CheckName("name", name); err != nil {
		return false, err
	}
	if err := s.checkHash(hash); err != nil {
		return false, err
	}
	err = u.db.batch(ctx, s, func(b *pgx.Batch) {
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
	s := subject{"delete user", name}
	if err := s.needAdmin(actor); err != nil {
		return err
	}
	if !picloud.ValidName(name) {
		return s.notFound()
	}
	var lastAdmin bool
	var app string
	err := u.db.batch(ctx, s, func(b *pgx.Batch) {
		b.Queue(sqlUserLock, name)
		b.Queue(sqlUserAppsLock, name)
		b.Queue(sqlUserDelete, name)
	}, func(results pgx.BatchResults) error {
		for range 2 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		return results.QueryRow().Scan(&lastAdmin, &app)
	})
	switch {
	case err != nil:
		return err
	case lastAdmin:
		return s.fail(picloud.CodeConflict, "it is the last cluster admin", "make another cluster admin first")
	case app != "":
		return s.fail(picloud.CodeLastOwner, "it is the only owner of app "+app, "make somebody else owner first")
	}
	return nil
}
