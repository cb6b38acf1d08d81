package fleet

import (
	"context"
	"regexp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Cluster is what the cluster has once.
type Cluster struct{ db *postgres.DB }

const (
	sqlClusterKeyID = `SELECT coalesce(key_id, '') FROM cluster`

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
