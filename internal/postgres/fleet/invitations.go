package fleet

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Invitations let new nodes into the cluster.
type Invitations struct{ db *postgres.DB }

// maxInvitations bounds the invitations that can be used at a time.
const maxInvitations = 100

const (
	invitationColumns = `encode(id, 'hex'), role::text, uses, created_by, created_at, expires_at`

	invitationOpen = `(uses > 0 AND expires_at > now())`

	// sqlInvitationCreate also forgets the invitations that are over for a month: until
	// then a node that comes late hears why.
	sqlInvitationCreate = `
WITH forgotten AS (
    DELETE FROM invitation WHERE expires_at < now() - interval '30 days'
), admin AS (
    SELECT name FROM usr WHERE ` + postgres.IsAdmin + `
), made AS (
    INSERT INTO invitation (id, secret, role, uses, created_by, expires_at)
    SELECT $2, $3, $4::text::node_role, $5, admin.name, now() + $6::interval FROM admin
    WHERE (SELECT count(*) FROM invitation WHERE ` + invitationOpen + `) < $7
    RETURNING ` + invitationColumns + `
)
SELECT made.* FROM made`

	sqlInvitationList = `SELECT ` + invitationColumns + ` FROM invitation WHERE ` + invitationOpen + ` ORDER BY created_at, id`

	sqlInvitationDelete = `DELETE FROM invitation WHERE id = $2 AND EXISTS (SELECT 1 FROM usr WHERE ` + postgres.IsAdmin + `) RETURNING encode(id, 'hex')`

	// sqlAdmit makes a node a member, if the invitation lets it in, and says why it does not.
	// The lock on the invitation orders the nodes that show the same token. A node whose
	// answer was lost asks again with the same key, and costs no second use.
	sqlAdmit = `
WITH inv AS (
    SELECT id, role, uses, expires_at, expires_at <= now() AS late FROM invitation WHERE id = $1 AND secret = $2 FOR UPDATE
), same AS (
    SELECT key_digest = $8 AND invitation = $1 AS again, ` + nodeAlive + ` AS alive FROM node WHERE id = $3::uuid
), holder AS (
    SELECT ` + nodeAlive + ` AS alive FROM node WHERE name = $4 AND id <> $3::uuid
), gone AS (
    SELECT removed_at FROM removed_node WHERE id = $3::uuid
), verdict AS (
    SELECT inv.role, coalesce(same.again, false) AS again
    FROM inv LEFT JOIN same ON true LEFT JOIN holder ON true
    WHERE NOT EXISTS (SELECT 1 FROM gone) AND NOT coalesce(holder.alive, false)
        AND (coalesce(same.again, false) OR inv.uses > 0 AND NOT inv.late AND NOT coalesce(same.alive, false))
), used AS (
    UPDATE invitation SET uses = invitation.uses - 1 FROM verdict
    WHERE invitation.id = $1 AND invitation.uses > 0 AND NOT verdict.again
    RETURNING verdict.role
), freed AS (
    DELETE FROM node WHERE name = $4 AND id <> $3::uuid AND EXISTS (SELECT 1 FROM used) RETURNING id, name, limits
), refused AS (
    INSERT INTO removed_node (id, name, removed_by) SELECT id, name, '' FROM freed ON CONFLICT (id) DO NOTHING
), made AS (
    INSERT INTO node (id, name, version, rev, started_at, role, stopped_at, arch, address, key_digest, invitation, limits)
    SELECT $3::uuid, $4, $5, 0, now(), used.role, now(), $6, $7, $8, $1, coalesce((SELECT limits FROM freed), '{}') FROM used
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, key_digest = excluded.key_digest,
        invitation = excluded.invitation, joined_at = now()
    RETURNING role
), told AS (
    SELECT count(pg_notify('picloud_node', '` + Changed + ` ' || $3::uuid::text)) AS times FROM made
)
SELECT cluster.name, EXISTS (SELECT 1 FROM inv), (SELECT expires_at FROM inv WHERE late), coalesce((SELECT uses FROM inv), 0),
    (SELECT removed_at FROM gone), coalesce((SELECT alive FROM same), false), coalesce((SELECT alive FROM holder), false),
    coalesce((SELECT role::text FROM made), (SELECT role::text FROM verdict WHERE again), '')
FROM cluster CROSS JOIN told`
)

func invitationRow(row pgx.CollectableRow) (i picloud.Invitation, err error) {
	err = row.Scan(&i.ID, &i.Role, &i.Uses, &i.CreatedBy, &i.CreatedAt, &i.ExpiresAt)
	return i, err
}

// Create makes an invitation. Its id has 16 hexadecimal digits; secret is the digest of
// the token's secret. Cluster admins may.
func (v Invitations) Create(ctx context.Context, actor picloud.Actor, i picloud.Invitation, life time.Duration, secret []byte) (picloud.Invitation, error) {
	s := postgres.About("invite node", "")
	id, err := hex.DecodeString(i.ID)
	if err != nil || len(id) != 8 || len(secret) != 32 {
		return i, s.Fail(picloud.CodeInvalid, "the invitation has no proper id or secret", "")
	}
	i.ExpiresAt = time.Now().Add(life)
	if err := i.Check(time.Now()); err != nil {
		return i, err
	}
	made, err := postgres.CreateAsAdmin(ctx, v.db, s, actor, invitationRow, sqlInvitationCreate, id, secret, string(i.Role), i.Uses, life, maxInvitations)
	if picloud.CodeOf(err) == picloud.CodeExists {
		return i, s.Fail(picloud.CodeQuota, fmt.Sprintf("%d invitations are open", maxInvitations), "take some back with `picloud node invitations rm`")
	}
	return made, err
}

// List returns the invitations that can still be used, the oldest first. Cluster admins
// may.
func (v Invitations) List(ctx context.Context, actor picloud.Actor) ([]picloud.Invitation, error) {
	s := postgres.About("list invitations", "")
	if !actor.Admin {
		return nil, s.AdminsOnly()
	}
	return postgres.Rows(ctx, v.db, v.db.API(), s, invitationRow, sqlInvitationList)
}

// Delete takes an invitation back. Cluster admins may.
func (v Invitations) Delete(ctx context.Context, actor picloud.Actor, id string) error {
	s := postgres.About("take back invitation", id)
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 8 {
		return s.NotFound()
	}
	_, err = postgres.CreateAsAdmin(ctx, v.db, s, actor, pgx.RowTo[string], sqlInvitationDelete, raw)
	if picloud.CodeOf(err) == picloud.CodeExists {
		return s.NotFound()
	}
	return err
}

// Admission is what a node shows in order to become a member.
type Admission struct {
	Invitation []byte // the id of its invitation
	Secret     []byte // the digest of the token's secret
	KeyDigest  []byte // the digest of the node's public key
	ID, Name   string
	Version    string
	Arch       string
	Address    string
}

// Admit makes a node a member and returns the role that its invitation gives it. It uses
// the invitation up by one, unless the node repeats itself: same invitation, same key.
// Errors are CodeInvitation for the token, CodeNotInvited for a node that was removed, and
// CodeConflict for one whose name or id belongs to another node that is alive.
func (v Invitations) Admit(ctx context.Context, a Admission) (role picloud.NodeRole, err error) {
	s := postgres.About("join", a.Name)
	if err := picloud.CheckName("node_name", a.Name); err != nil {
		return "", err
	}
	a.Address, a.Arch = strings.ToValidUTF8(a.Address, ""), strings.ToValidUTF8(a.Arch, "")
	var d decision
	admit := func() error {
		return v.db.Run(ctx, v.db.Duties(), s, func(ctx context.Context) error {
			return v.db.Duties().QueryRow(ctx, sqlAdmit, a.Invitation, a.Secret, a.ID, a.Name,
				picloud.Shorten(a.Version, 120), picloud.Shorten(a.Arch, 30), picloud.Shorten(a.Address, 250), a.KeyDigest).
				Scan(&d.cluster, &d.known, &d.expired, &d.uses, &d.removed, &d.sameAlive, &d.nameAlive, &role)
		})
	}
	if err = admit(); picloud.CodeOf(err) == picloud.CodeExists {
		err = admit() // another one with the name was first: now it is seen
	}
	if err != nil || role != "" {
		return role, err
	}
	return "", d.explain(s, a)
}

// decision is the result of sqlAdmit for a node that is not let in.
type decision struct {
	cluster              string
	known                bool       // the invitation
	expired              *time.Time // when it was over
	uses                 int        // that it had left
	removed              *time.Time // when the node was removed
	sameAlive, nameAlive bool       // a node with its id, or another one with its name, is alive
}

func (d decision) explain(s postgres.Subject, a Admission) error {
	const again = "make another one: `picloud node invite` on a node of the cluster"
	switch {
	case !d.known:
		return s.Fail(picloud.CodeInvitation, fmt.Sprintf("the cluster %q knows no such invitation", d.cluster),
			"it may have been taken back, or be the token of another cluster; "+again)
	case d.removed != nil:
		return wasRemoved(s, a.ID, d.cluster, *d.removed)
	case d.sameAlive:
		return s.Fail(picloud.CodeConflict, fmt.Sprintf("node %s is a member and alive: two nodes seem to have copies of one data folder", a.ID),
			"empty the data folder of the copy with `picloud node reset`, then join again")
	case d.nameAlive:
		return s.Fail(picloud.CodeConflict, fmt.Sprintf("the name %s belongs to another node that is alive", a.Name),
			"give this node a name of its own with --node-name or PICLOUD_NODE_NAME, then join again with the same token")
	case d.expired != nil:
		return s.Fail(picloud.CodeInvitation, "the invitation was valid until "+d.expired.UTC().Format(time.RFC3339), again)
	}
	return s.Fail(picloud.CodeInvitation, "the invitation has been used up", again)
}
