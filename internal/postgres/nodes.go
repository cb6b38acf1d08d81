package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
)

// NodeChannel is notified with the id of a node whose revision changed.
const NodeChannel = "picloud_node"

// Nodes are the nodes of the cluster.
type Nodes struct{ db *DB }

// Nodes returns the store of nodes.
func (d *DB) Nodes() Nodes { return Nodes{d} }

const (
	// sqlNodeReport also forgets the nodes that were silent for 30 days.
	sqlNodeReport = `
WITH before AS (
    SELECT rev FROM node WHERE id = $1::uuid
), forgotten AS (
    DELETE FROM node WHERE seen_at < now() - interval '30 days' AND id <> $1::uuid
), report AS (
    INSERT INTO node (id, name, version, rev, started_at) VALUES ($1::uuid, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, version = excluded.version, rev = excluded.rev,
        started_at = excluded.started_at, seen_at = now()
    RETURNING id, rev
)
SELECT pg_notify('picloud_node', report.id::text)
FROM report LEFT JOIN before ON true WHERE before.rev IS DISTINCT FROM report.rev`

	sqlNodeList = `SELECT id::text, name, version, rev, started_at, seen_at FROM node ORDER BY name, id`
)

// Report records what a node says of itself; the time it was seen is the
// database's.
func (n Nodes) Report(ctx context.Context, node picloud.Node) error {
	s := subject{"report node", node.Name}
	if err := picloud.CheckName("node", node.Name); err != nil {
		return err
	}
	return n.db.run(ctx, n.db.node, s, func(ctx context.Context) error {
		_, err := n.db.node.Exec(ctx, sqlNodeReport, node.ID, node.Name, picloud.Shorten(node.Version, 120), node.Rev, node.StartedAt)
		return err
	})
}

// List returns the nodes that were seen in the last 30 days, by name.
func (n Nodes) List(ctx context.Context) ([]picloud.Node, error) {
	return rows(ctx, n.db, n.db.node, subject{"list nodes", ""}, func(row pgx.CollectableRow) (x picloud.Node, err error) {
		err = row.Scan(&x.ID, &x.Name, &x.Version, &x.Rev, &x.StartedAt, &x.SeenAt)
		return x, err
	}, sqlNodeList)
}
