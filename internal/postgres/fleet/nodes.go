package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Nodes are the nodes of the cluster.
type Nodes struct{ db *postgres.DB }

const (
	// sqlNodeReport also removes the nodes that were silent for 30 days. Nodes with
	// limits stay, because an admin set the limits.
	sqlNodeReport = `
WITH before AS (
    SELECT rev FROM node WHERE id = $1::uuid
), forgotten AS (
    DELETE FROM node WHERE seen_at < now() - interval '30 days' AND id <> $1::uuid AND limits = '{}'
), report AS (
    INSERT INTO node (id, name, version, rev, started_at) VALUES ($1::uuid, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, version = excluded.version, rev = excluded.rev,
        started_at = excluded.started_at, seen_at = now()
    RETURNING id, rev
)
SELECT pg_notify('picloud_node', report.id::text)
FROM report LEFT JOIN before ON true WHERE before.rev IS DISTINCT FROM report.rev`

	nodeColumns = `id::text, name, version, rev, limits, started_at, seen_at`

	sqlNodeList = `SELECT ` + nodeColumns + ` FROM node ORDER BY name, id`

	// sqlNodeByName sorts the nodes of a name, and puts the one that was seen last at
	// the end. Several nodes have one name when a node lost its data and came back.
	sqlNodeByName = `SELECT ` + nodeColumns + ` FROM node WHERE name = $1 ORDER BY seen_at, id`

	sqlNodeLimits = `UPDATE node SET limits = $2 WHERE name = $1`
)

func nodeRow(row pgx.CollectableRow) (n picloud.Node, err error) {
	var limits []byte
	if err := row.Scan(&n.ID, &n.Name, &n.Version, &n.Rev, &limits, &n.StartedAt, &n.SeenAt); err != nil {
		return n, err
	}
	return n, postgres.ReadJSON("limits of a node", limits, &n.Limits)
}

// Report records what a node says of itself. The time comes from the database's
// clock, and the limits stay as an admin set them.
func (n Nodes) Report(ctx context.Context, node picloud.Node) error {
	s := postgres.About("report node", node.Name)
	if err := picloud.CheckName("node", node.Name); err != nil {
		return err
	}
	return n.db.Run(ctx, n.db.Duties(), s, func(ctx context.Context) error {
		_, err := n.db.Duties().Exec(ctx, sqlNodeReport, node.ID, node.Name, picloud.Shorten(node.Version, 120), node.Rev, node.StartedAt)
		return err
	})
}

// List returns the nodes that were seen in the last 30 days or have limits, by
// name.
func (n Nodes) List(ctx context.Context) ([]picloud.Node, error) {
	return postgres.Rows(ctx, n.db, n.db.Duties(), postgres.About("list nodes", ""), nodeRow, sqlNodeList)
}

// ChangeLimits changes the default limits of the nodes with a name. Edit makes the
// new limits from the present ones. It runs under the catalog's lock, so no other
// change comes between, and it must not block. ChangeLimits wakes the nodes if the
// limits differ. It returns the node that was seen last, and the catalog's revision
// that has the limits. Cluster admins may.
func (n Nodes) ChangeLimits(ctx context.Context, actor picloud.Actor, name string, edit func(picloud.Limits) (picloud.Limits, error)) (out picloud.Node, rev int64, err error) {
	s := postgres.About("change node", name)
	rev, err = n.db.ChangeAsAdmin(ctx, s, actor, func(ctx context.Context, c *postgres.Change) error {
		found, _ := c.Tx.Query(ctx, sqlNodeByName, name) // the rows carry the error
		nodes, err := pgx.CollectRows(found, nodeRow)
		if err != nil {
			return err
		}
		if len(nodes) == 0 {
			return s.NotFound()
		}
		out = nodes[len(nodes)-1]
		limits, err := edit(out.Limits)
		if err == nil {
			err = limits.Check()
		}
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(nodes, func(n picloud.Node) bool { return n.Limits != limits }) {
			return nil
		}
		out.Limits = limits
		text, err := json.Marshal(limits)
		if err != nil {
			return fmt.Errorf("write limits: %w", err)
		}
		if err := c.Bump(ctx); err != nil {
			return err
		}
		return c.Exec(ctx, sqlNodeLimits, name, text)
	})
	if err != nil {
		return picloud.Node{}, 0, err
	}
	return out, rev, nil
}
