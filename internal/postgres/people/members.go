package people

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Members are the users of apps with their roles.
//
// Each change is one statement that carries its own checks: the actor's role, the
// member's present role, and that an owner stays. The statement locks the app's row
// and reads everything else from its snapshot. If it had to wait for the lock, the
// snapshot may be too old. The statement then finds two values of app.members_rev
// and changes nothing, and it is run again (optimistic concurrency).
type Members struct{ db *postgres.DB }

const (
	// memberFacts begins each change: $1 of IsAdmin, $2 actor, $3 app, $4 user,
	// $5 role. It locks the users' rows by name, and then the app's row. Deleting a
	// user locks in the same order. A row that is read through its lock is up to
	// date, so the admin's row needs no second check.
	memberFacts = `
WITH people AS MATERIALIZED (
    SELECT name, admin FROM usr WHERE name = $4 OR ` + postgres.IsAdmin + ` ORDER BY name FOR SHARE
), held AS MATERIALIZED (
    SELECT app.members_rev FROM app, (SELECT count(*) FROM people) AS before_it WHERE app.name = $3 FOR NO KEY UPDATE OF app
), facts AS MATERIALIZED (
    SELECT (SELECT members_rev FROM held) AS now_rev,
           app.members_rev AS rev,
           EXISTS (SELECT 1 FROM people WHERE name = $4) AS person,
           CASE WHEN EXISTS (SELECT 1 FROM people WHERE ` + postgres.IsAdmin + `) THEN 'owner'
                ELSE (SELECT role FROM member WHERE app = $3 AND usr = $2) END AS actor,
           (SELECT role FROM member WHERE app = $3 AND usr = $4) AS present,
           (SELECT count(*) FROM member WHERE app = $3 AND role = 'owner') AS owners
    FROM app WHERE app.name = $3
), verdict AS MATERIALIZED (
    SELECT CASE
        WHEN now_rev IS NULL THEN 'no app'
        WHEN now_rev <> rev THEN 'stale'
        WHEN actor IS NULL THEN 'no app'
        WHEN actor < 'admin' THEN 'needs admin' `

	// memberChanged ends each change, after "done", the change itself.
	memberChanged = `
), stamp AS (
    UPDATE app SET members_rev = members_rev + 1 FROM done WHERE app.name = $3
)
SELECT verdict.word, coalesce(done.role::text, ''), coalesce(done.granted_by, ''), done.created_at, done.updated_at
FROM verdict LEFT JOIN done ON true`

	sqlMemberAdd = memberFacts + `
        WHEN $5::member_role = 'owner' AND actor < 'owner' THEN 'needs owner'
        WHEN NOT person THEN 'no user'
        WHEN present IS NOT NULL THEN 'exists'
        ELSE 'ok' END AS word FROM facts
), done AS (
    INSERT INTO member (app, usr, role, granted_by) SELECT $3, $4, $5, $2 FROM verdict WHERE word = 'ok'
    ON CONFLICT DO NOTHING RETURNING role, granted_by, created_at, updated_at` + memberChanged

	sqlMemberSetRole = memberFacts + `
        WHEN present IS NULL THEN 'no member'
        WHEN (present = 'owner' OR $5::member_role = 'owner') AND actor < 'owner' THEN 'needs owner'
        WHEN present = 'owner' AND $5 < 'owner' AND owners = 1 THEN 'last owner'
        ELSE 'ok' END AS word FROM facts
), done AS (
    UPDATE member SET role = $5, granted_by = $2, updated_at = now() FROM verdict
    WHERE word = 'ok' AND app = $3 AND usr = $4 RETURNING role, granted_by, created_at, updated_at` + memberChanged

	sqlMemberRemove = memberFacts + `
        WHEN present IS NULL THEN 'no member'
        WHEN present = 'owner' AND actor < 'owner' THEN 'needs owner'
        WHEN present = 'owner' AND owners = 1 THEN 'last owner'
        ELSE 'ok' END AS word FROM facts
), done AS (
    DELETE FROM member USING verdict
    WHERE word = 'ok' AND app = $3 AND usr = $4 RETURNING role, granted_by, created_at, updated_at` + memberChanged

	memberColumns = `app, usr, role::text, granted_by, created_at, updated_at`

	sqlMemberGet = `SELECT ` + memberColumns + ` FROM member WHERE app = $1 AND usr = $2`

	sqlMemberList = `SELECT ` + memberColumns + ` FROM member WHERE app = $1 AND usr > $2 ORDER BY usr LIMIT $3`
)

func memberRow(row pgx.CollectableRow) (m picloud.Member, err error) {
	err = row.Scan(&m.App, &m.User, &m.Role, &m.GrantedBy, &m.CreatedAt, &m.UpdatedAt)
	return m, err
}

// Add makes a user a member, or fails with ErrConflict when it is one: a role
// is never rewritten. Admins of the app may; owners are made by owners.
func (m Members) Add(ctx context.Context, actor picloud.Actor, app, user string, role picloud.Role) (picloud.Member, error) {
	s := postgres.About("add member", postgres.Resource(app, user))
	if err := checkRole(s, role); err != nil {
		return picloud.Member{}, err
	}
	return m.change(ctx, s, actor, app, user, sqlMemberAdd, role)
}

// SetRole changes a member's role, or fails with ErrNotFound when the user is not a
// member: it never makes one. Admins of the app may; owners are touched by
// owners. The last owner stays owner: CodeLastOwner.
func (m Members) SetRole(ctx context.Context, actor picloud.Actor, app, user string, role picloud.Role) (picloud.Member, error) {
	s := postgres.About("change member", postgres.Resource(app, user))
	if err := checkRole(s, role); err != nil {
		return picloud.Member{}, err
	}
	return m.change(ctx, s, actor, app, user, sqlMemberSetRole, role)
}

// Remove ends a membership. Admins of the app may; owners are removed by
// owners. The last owner stays: CodeLastOwner.
func (m Members) Remove(ctx context.Context, actor picloud.Actor, app, user string) error {
	s := postgres.About("remove member", postgres.Resource(app, user))
	_, err := m.change(ctx, s, actor, app, user, sqlMemberRemove)
	return err
}

func checkRole(s postgres.Subject, role picloud.Role) error {
	if role.Valid() {
		return nil
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: s.Op, Resource: s.Resource, Detail: "there is no role " + picloud.Shorten(string(role), 40),
		Fields: []picloud.FieldError{{Field: "role", Message: "must be viewer, developer, admin or owner"}},
	}
}

// change runs one changing statement until its snapshot is not stale. A stale
// snapshot means that another change of the same app was committed, so there is
// always progress. The deadline bounds the repetitions.
func (m Members) change(ctx context.Context, s postgres.Subject, actor picloud.Actor, app, user, sql string, role ...any) (picloud.Member, error) {
	if !picloud.ValidName(app) || !picloud.ValidName(user) {
		return picloud.Member{}, s.NotFound()
	}
	args := append([]any{postgres.ActingAdmin(actor), actor.User, app, user}, role...)
	var out picloud.Member
	err := m.db.Run(ctx, m.db.API(), s, func(ctx context.Context) (err error) {
		for {
			var word string
			err = m.db.Send(ctx, m.db.API(), s, func(b *pgx.Batch) { b.Queue(sql, args...) }, func(results pgx.BatchResults) (err error) {
				out, word, err = scanChange(results.QueryRow())
				return err
			})
			if err != nil || word == "ok" {
				return err
			}
			if word != "stale" {
				return refuse(s, word)
			}
		}
	})
	if err != nil {
		return picloud.Member{}, err
	}
	out.App, out.User = app, user
	return out, nil
}

// scanChange reads a verdict and, when it is "ok", the member as it was
// changed.
func scanChange(row pgx.Row) (m picloud.Member, word string, err error) {
	var created, updated *time.Time
	err = row.Scan(&word, &m.Role, &m.GrantedBy, &created, &updated)
	if errors.Is(err, pgx.ErrNoRows) {
		return m, "no app", nil // the facts are one row of an app
	}
	if err != nil || word != "ok" {
		return m, word, err
	}
	if created == nil {
		return m, "exists", nil // another statement inserted the member meanwhile
	}
	m.CreatedAt, m.UpdatedAt = *created, *updated
	return m, word, nil
}

// refuse turns a statement's verdict into an error.
func refuse(s postgres.Subject, word string) error {
	switch word {
	case "no app":
		return s.NoApp()
	case "no member":
		return s.NotFound()
	case "needs admin":
		return s.Forbidden(picloud.RoleAdmin)
	case "needs owner":
		return s.Forbidden(picloud.RoleOwner)
	case "last owner":
		return s.Fail(picloud.CodeLastOwner, "it is the last owner of the app", "make somebody else owner first")
	case "no user":
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: s.Op, Resource: s.Resource, Detail: "there is no such user",
			Hint: "a cluster admin creates users", Fields: []picloud.FieldError{{Field: "user", Message: "must be an existing user"}},
		}
	}
	return s.Exists()
}

// Get returns one membership. Members of the app may.
func (m Members) Get(ctx context.Context, actor picloud.Actor, app, user string) (picloud.Member, error) {
	s := postgres.About("get member", postgres.Resource(app, user))
	if !picloud.ValidName(user) {
		return picloud.Member{}, s.NotFound()
	}
	return postgres.One(ctx, m.db, s, actor, app, memberRow, sqlMemberGet, app, user)
}

// List returns the members of an app by name. Members of the app may.
func (m Members) List(ctx context.Context, actor picloud.Actor, app string, page picloud.Page) (items []picloud.Member, next string, err error) {
	s := postgres.About("list members", app)
	after, err := postgres.NameCursor(s, page)
	if err != nil {
		return nil, "", err
	}
	items, err = postgres.Read(ctx, m.db, s, actor, app, memberRow, sqlMemberList, app, after, page.Size()+1)
	items, next = postgres.Cut(page, items, func(m picloud.Member) string { return m.User })
	return items, next, err
}
