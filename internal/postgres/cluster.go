package postgres

import (
	"context"
	"regexp"

	"github.com/picloud/picloud"
)

// Cluster is what the cluster has once.
type Cluster struct{ db *DB }

// Cluster returns the store of what the cluster has once.
func (d *DB) Cluster() Cluster { return Cluster{d} }

const (
	sqlClusterKeyID = `SELECT coalesce(key_id, '') FROM cluster`

	sqlClusterClaimKeyID = `UPDATE cluster SET key_id = $1 WHERE key_id IS NULL`
)

var keyID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// KeyID names the key that wraps the apps' data keys; it is empty when no node
// has made one yet.
func (c Cluster) KeyID(ctx context.Context) (id string, err error) {
	s := subject{"read the cluster key's id", ""}
	err = c.db.run(ctx, c.db.node, s, func(ctx context.Context) error {
		return c.db.node.QueryRow(ctx, sqlClusterKeyID).Scan(&id)
	})
	return id, err
}

// ClaimKeyID makes id, 32 hexadecimal digits, the cluster key's when there is
// none, and returns the one in effect. Of several that claim, all are told the
// same.
func (c Cluster) ClaimKeyID(ctx context.Context, id string) (inEffect string, err error) {
	s := subject{"claim the cluster key's id", ""}
	if !keyID.MatchString(id) {
		return "", s.fail(picloud.CodeInvalid, "the id is not 32 hexadecimal digits", "")
	}
	err = c.db.run(ctx, c.db.node, s, func(ctx context.Context) error {
		if _, err := c.db.node.Exec(ctx, sqlClusterClaimKeyID, id); err != nil {
			return err
		}
		// A statement of its own, which sees who was first.
		return c.db.node.QueryRow(ctx, sqlClusterKeyID).Scan(&inEffect)
	})
	return inEffect, err
}
