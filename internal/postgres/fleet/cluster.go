package fleet

import (
	"context"
	"errors"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Cluster is what the cluster has once.
type Cluster struct{ db *postgres.DB }

const (
	sqlClusterKeyID = `SELECT coalesce(key_id, '') FROM cluster`

	sqlClusterFacts = `SELECT id::text, name, coalesce(founder::text, '') FROM cluster`

	sqlClusterAuthority = `SELECT ca_certificate, ca_key, gossip_keys, gossip_rev, gossip_stale FROM cluster WHERE ca_certificate IS NOT NULL`

	sqlClusterClaimAuthority = `UPDATE cluster SET ca_certificate = $1, ca_key = $2, gossip_keys = $3, gossip_rev = 1 WHERE ca_certificate IS NULL`

	// sqlClusterGossip changes the keys of the gossip from revision $2 to $3. With $4 they
	// are new to the nodes that were removed.
	sqlClusterGossip = `
WITH changed AS (
    UPDATE cluster SET gossip_keys = $1, gossip_rev = $3, gossip_stale = gossip_stale AND NOT $4 WHERE gossip_rev = $2 RETURNING gossip_rev
)
SELECT count(pg_notify('picloud_node', '` + Changed + `')) FROM changed`

	// sqlMembers lists the members, and the nodes that were removed while their
	// certificates may still be valid.
	sqlMembers = `
SELECT id::text, name, role::text, address, false FROM node
UNION ALL
(SELECT id::text, name, '', '', true FROM removed_node WHERE removed_at > now() - interval '200 days' ORDER BY removed_at DESC LIMIT 1000)
ORDER BY 1`

	sqlClusterClaimKeyID = `UPDATE cluster SET key_id = $1 WHERE key_id IS NULL`
)

var keyID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// KeyID names the key that wraps the apps' data keys; it is empty when no node
// has made one yet.
func (c Cluster) KeyID(ctx context.Context) (id string, err error) {
	s := postgres.About("read the cluster key's id", "")
	err = c.db.Look(ctx, c.db.Duties(), s, func(ctx context.Context) error {
		return c.db.Duties().QueryRow(ctx, sqlClusterKeyID).Scan(&id)
	})
	return id, err
}

// ClaimKeyID makes id, 32 hexadecimal digits, the id of the cluster's key if the
// cluster has none. It returns the id in effect. When several nodes claim at once,
// one wins and all get its id.
func (c Cluster) ClaimKeyID(ctx context.Context, id string) (inEffect string, err error) {
	s := postgres.About("claim the cluster key's id", "")
	if !keyID.MatchString(id) {
		return "", s.Fail(picloud.CodeInvalid, "the id is not 32 hexadecimal digits", "")
	}
	err = c.db.Run(ctx, c.db.Duties(), s, func(ctx context.Context) error {
		if _, err := c.db.Duties().Exec(ctx, sqlClusterClaimKeyID, id); err != nil {
			return err
		}
		// A separate statement has a newer snapshot, so it sees the id that won.
		return c.db.Duties().QueryRow(ctx, sqlClusterKeyID).Scan(&inEffect)
	})
	return inEffect, err
}

// Facts are what identifies the cluster.
type Facts struct {
	ID      string // UUID
	Name    string // for people
	Founder string // the node that took the empty database; empty: none has yet
}

// Facts returns what identifies the cluster.
func (c Cluster) Facts(ctx context.Context) (f Facts, err error) {
	s := postgres.About("read the cluster's name", "")
	err = c.db.Look(ctx, c.db.Duties(), s, func(ctx context.Context) error {
		return c.db.Duties().QueryRow(ctx, sqlClusterFacts).Scan(&f.ID, &f.Name, &f.Founder)
	})
	return f, err
}

// Authority is what the cluster signs and encrypts with. Key and GossipKeys are sealed.
type Authority struct {
	Certificate []byte // DER
	Key         []byte
	GossipKeys  []byte
	GossipRev   int
	GossipStale bool // a node that was removed has the keys
}

// Authority returns the cluster's authority. ErrNotFound says that there is none.
func (c Cluster) Authority(ctx context.Context) (a Authority, err error) {
	s := postgres.About("read the cluster's CA", "")
	err = c.db.Look(ctx, c.db.Duties(), s, func(ctx context.Context) error {
		err := c.db.Duties().QueryRow(ctx, sqlClusterAuthority).Scan(&a.Certificate, &a.Key, &a.GossipKeys, &a.GossipRev, &a.GossipStale)
		if errors.Is(err, pgx.ErrNoRows) {
			return s.NotFound()
		}
		return err
	})
	return a, err
}

// ClaimAuthority makes a the cluster's authority if the cluster has none. It returns the
// one in effect. When several nodes claim at once, one wins and all get its authority.
func (c Cluster) ClaimAuthority(ctx context.Context, a Authority) (Authority, error) {
	s := postgres.About("save the cluster's CA", "")
	err := c.db.Run(ctx, c.db.Duties(), s, func(ctx context.Context) error {
		_, err := c.db.Duties().Exec(ctx, sqlClusterClaimAuthority, a.Certificate, a.Key, a.GossipKeys)
		return err
	})
	if err != nil {
		return a, err
	}
	return c.Authority(ctx)
}

// Changed begins what the nodes are told when a member came or went, or when there are other
// keys of the gossip.
const Changed = "members"

// ChangeGossip replaces the keys of the gossip of revision from, sealed, by those of revision
// to, if nobody else has. Fresh says that a new key is among them, which no removed node has.
// It reports whether it did.
func (c Cluster) ChangeGossip(ctx context.Context, sealed []byte, from, to int, fresh bool) (done bool, err error) {
	s, changed := postgres.About("change the keys of the gossip", ""), 0
	err = c.db.Run(ctx, c.db.Duties(), s, func(ctx context.Context) error {
		return c.db.Send(ctx, c.db.Duties(), s, func(b *pgx.Batch) {
			b.Queue(sqlClusterGossip, sealed, from, to, fresh)
		}, func(results pgx.BatchResults) error { return results.QueryRow().Scan(&changed) })
	})
	return changed > 0, err
}

// Member is a node as others reach it, or one that was removed.
type Member struct {
	ID, Name string
	Role     picloud.NodeRole
	Address  string // host:port of its cluster port; empty: not known
	Removed  bool
}

// Members returns the members, and the nodes that were removed.
func (c Cluster) Members(ctx context.Context) ([]Member, error) {
	return postgres.Rows(ctx, c.db, c.db.Duties(), postgres.About("list members", ""), func(row pgx.CollectableRow) (m Member, err error) {
		err = row.Scan(&m.ID, &m.Name, &m.Role, &m.Address, &m.Removed)
		return m, err
	}, sqlMembers)
}
