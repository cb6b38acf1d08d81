package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
)

// Nodes are the nodes of the cluster.
type Nodes struct{ db *postgres.DB }

const (
	// nodeAlive is picloud.Node.Alive by the database's clock.
	nodeAlive = `(seen_at > now() - interval '3 minutes' AND (stopped_at IS NULL OR stopped_at < seen_at))`

	// nodeElsewhere is a node that ran at another place than the parameter says less than
	// picloud.PlaceSilence ago.
	nodeElsewhere = `(place <> '' AND $6 NOT IN ('', place) AND seen_at > now() - interval '90 seconds' AND ` + nodeAlive + `)`

	// sqlNodeReport takes the report of a member: a node that an invitation let in, or the
	// founder. The first node of an empty database is the founder. So is a node that comes
	// with the name of a founder that is dead: the same machine with a new data folder.
	// The statement refuses a name that belongs to another node that is alive, and a copy
	// of a node that is alive, and returns the one that was first. Of two that
	// report the same name at once, the unique constraint stops one. A dead node's name,
	// with the limits that an admin gave to the name, passes to the node.
	sqlNodeReport = `
WITH holder AS (
    SELECT id, started_at FROM node
    WHERE id = $1::uuid AND ` + nodeElsewhere + ` OR name = $2 AND id <> $1::uuid AND ` + nodeAlive + `
    ORDER BY id <> $1::uuid LIMIT 1
), before AS (
    SELECT rev FROM node WHERE id = $1::uuid
), founding AS (
    UPDATE cluster SET founder = $1::uuid
    WHERE NOT EXISTS (SELECT 1 FROM before) AND NOT EXISTS (SELECT 1 FROM holder)
        AND NOT EXISTS (SELECT 1 FROM removed_node WHERE id = $1::uuid)
        AND (founder IS NULL OR founder = $1::uuid
            OR EXISTS (SELECT 1 FROM node f WHERE f.id = founder AND f.name = $2 AND NOT ` + nodeAlive + `))
    RETURNING founder
), member AS (
    SELECT 1 FROM before UNION ALL SELECT 1 FROM founding
), released AS (
    DELETE FROM node WHERE name = $2 AND id <> $1::uuid AND NOT ` + nodeAlive + ` AND EXISTS (SELECT 1 FROM member) RETURNING limits
), report AS (
    INSERT INTO node (id, name, version, rev, started_at, place, arch, address, limits)
    SELECT $1::uuid, $2, $3, $4, $5, $6, $7, $8, coalesce((SELECT limits FROM released), '{}')
    WHERE NOT EXISTS (SELECT 1 FROM holder) AND EXISTS (SELECT 1 FROM member)
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, version = excluded.version, rev = excluded.rev, started_at = excluded.started_at, seen_at = now(), place = excluded.place,
        arch = excluded.arch, address = excluded.address,
        limits = CASE node.limits WHEN '{}' THEN excluded.limits ELSE node.limits END
    RETURNING id, rev
), told AS (
    SELECT count(pg_notify('picloud_node', report.id::text)) AS times
    FROM report LEFT JOIN before ON true WHERE before.rev IS DISTINCT FROM report.rev
)
SELECT told.times, EXISTS (SELECT 1 FROM member), holder.id::text, holder.started_at, cluster.name,
    (SELECT removed_at FROM removed_node WHERE id = $1::uuid),
    (SELECT coalesce(array_agg(name), '{}') FROM (SELECT name FROM node ORDER BY seen_at DESC LIMIT 3) AS lately)
FROM told CROSS JOIN cluster LEFT JOIN holder ON true`

	// sqlNodeStop does nothing for a node that runs at another place meanwhile.
	sqlNodeStop = `UPDATE node SET stopped_at = now() WHERE id = $1::uuid AND (place = '' OR $2 IN ('', place))`

	// What a node does whose database role may not write the table.
	sqlNodeReportOwn = `SELECT node_report($1, $2, $3, $4, $5, $6, $7, $8), (SELECT removed_at FROM removed_node WHERE id = $1::uuid), (SELECT name FROM cluster),
    (SELECT started_at FROM node WHERE id = $1::uuid)`
	sqlNodeStopOwn = `SELECT node_stop($1, $2)`

	// sqlNodeRemove removes a node that is dead, or with $3 one that is alive, but none of $4.
	// The keys of the gossip have to be changed then, and all nodes hear of it. It returns
	// whether it did, how many seconds ago the node was seen, and whether it is one of $4.
	sqlNodeRemove = `
WITH gone AS (
    DELETE FROM node WHERE name = $2 AND ($3 OR NOT ` + nodeAlive + `) AND id::text <> ALL ($4)
        AND EXISTS (SELECT 1 FROM usr WHERE usr.name = $1 AND admin)
    RETURNING id, name
), refused AS (
    INSERT INTO removed_node (id, name, removed_by) SELECT id, name, $1 FROM gone ON CONFLICT (id) DO NOTHING
), stale AS (
    UPDATE cluster SET gossip_stale = true WHERE ca_key IS NOT NULL AND EXISTS (SELECT 1 FROM gone)
), told AS (
    SELECT count(pg_notify('picloud_node', '` + Changed + ` ' || id)) AS times FROM gone
)
SELECT times > 0, (SELECT extract(epoch FROM now() - seen_at)::float8 FROM node WHERE name = $2),
    EXISTS (SELECT 1 FROM node WHERE name = $2 AND id::text = ANY ($4))
FROM told`

	// sqlRemovedForget forgets nodes that were removed a year ago: their certificates ran out
	// long before. The founder needs no invitation, so it is never forgotten.
	sqlRemovedForget = `
DELETE FROM removed_node WHERE id IN (
    SELECT r.id FROM removed_node r, cluster c
    WHERE r.removed_at < now() - interval '1 year' AND r.id IS DISTINCT FROM c.founder LIMIT 1000)`

	nodeColumns = `id::text, name, version, rev, limits, started_at, seen_at, coalesce(stopped_at >= seen_at, false), drained_at IS NOT NULL, role::text, arch, address`

	sqlNodeList = `SELECT ` + nodeColumns + ` FROM node ORDER BY name, id`

	sqlNodeByName = `SELECT ` + nodeColumns + ` FROM node WHERE name = $1`

	// sqlNodePromote tells all nodes, of which that one asks for another certificate.
	sqlNodePromote = `
WITH changed AS (UPDATE node SET role = 'manager' WHERE name = $1 AND role <> 'manager' RETURNING id)
SELECT count(pg_notify('picloud_node', '` + Changed + ` ' || id)) FROM changed`

	sqlNodeDrained = `UPDATE node SET drained_at = CASE WHEN $2 THEN now() END WHERE name = $1`

	sqlNodeLimits = `UPDATE node SET limits = $2 WHERE name = $1`
)

func nodeRow(row pgx.CollectableRow) (n picloud.Node, err error) {
	var limits []byte
	if err := row.Scan(&n.ID, &n.Name, &n.Version, &n.Rev, &limits, &n.StartedAt, &n.SeenAt, &n.Stopped, &n.Draining, &n.Role, &n.Arch, &n.Address); err != nil {
		return n, err
	}
	return n, postgres.ReadJSON("limits of a node", limits, &n.Limits)
}

// Report records what a node says of itself. The time comes from the database's
// clock, and the limits stay as an admin set them. It fails with CodeConflict when the
// node's name belongs to another node that is alive, and with CodeNotInvited when the
// node is no member. A node that runs at another place too is CodeConflict: somebody has copied
// its data folder.
func (n Nodes) Report(ctx context.Context, node picloud.Node) error {
	s := postgres.About("report node", node.Name)
	if err := picloud.CheckName("node", node.Name); err != nil {
		return err
	}
	report := func() (h holder, err error) {
		err = n.db.Run(ctx, n.db.Duties(), s, func(ctx context.Context) error {
			return n.db.Duties().QueryRow(ctx, sqlNodeReport, node.ID, node.Name, picloud.Shorten(node.Version, 120), node.Rev, node.StartedAt, node.Place, node.Arch, node.Address).
				Scan(&h.told, &h.member, &h.id, &h.started, &h.cluster, &h.removed, &h.nodes)
		})
		return h, err
	}
	h, err := report()
	if picloud.CodeOf(err) == picloud.CodeExists || err == nil && !h.member {
		h, err = report() // another one that reported at the same time was first: now it is seen
	}
	switch {
	case err != nil:
		return err
	case h.removed != nil:
		return wasRemoved(s, node.ID, h.cluster, *h.removed)
	case !h.member && h.id == nil:
		return s.Fail(picloud.CodeNotInvited,
			fmt.Sprintf("the database belongs to the cluster %q of %s, which has not invited this node", h.cluster, strings.Join(h.nodes, ", ")),
			"run `picloud node invite` on one of them, and start this node with the --join and --token that it prints")
	case h.id == nil:
		return nil
	}
	if *h.id == node.ID {
		return isACopy(s, node.ID, *h.started)
	}
	return s.Fail(picloud.CodeConflict,
		// Nothing in the text changes from try to try: the node's log says the same thing once.
		fmt.Sprintf("the name %s belongs to another node that is alive: node %s, started %s",
			node.Name, *h.id, h.started.UTC().Format(time.RFC3339)),
		"give this node a name of its own with PICLOUD_NODE_NAME, or stop the other one; the name of a node that crashed is free after 3 minutes")
}

// holder is the living node that has the name which another one reports; id is nil if
// there is none.
type holder struct {
	told    int64
	member  bool // the one that reports is one
	id      *string
	started *time.Time
	cluster string
	removed *time.Time // when the one that reports was removed
	nodes   []string   // some that are members
}

// Stop records that a node says that it stops. Until it reports again, nobody waits for
// it, and another node may have its name. A copy of a node stops nothing.
func (n Nodes) Stop(ctx context.Context, node picloud.Node) error {
	return n.db.Run(ctx, n.db.Duties(), postgres.About("report the stop of this node", ""), func(ctx context.Context) error {
		_, err := n.db.Duties().Exec(ctx, sqlNodeStop, node.ID, node.Place)
		return err
	})
}

// Remove removes a node that is dead, or with force one that is alive. A node that comes
// back is a new one. Cluster admins may.
func (n Nodes) Remove(ctx context.Context, actor picloud.Actor, name string, force bool) error {
	return n.RemoveBut(ctx, []string{}, actor, name, force)
}

// RemoveBut is Remove, but for the nodes that cannot be done without: the one that manages
// the cluster, and the one that runs its database.
func (n Nodes) RemoveBut(ctx context.Context, needed []string, actor picloud.Actor, name string, force bool) error {
	s := postgres.About("remove node", name)
	if !picloud.ValidName(name) {
		return s.NotFound()
	}
	v, err := postgres.CreateAsAdmin(ctx, n.db, s, actor, verdictRow, sqlNodeRemove, name, force, needed)
	switch {
	case err != nil:
		return err
	case v.gone:
		return nil
	case v.silent == nil:
		return s.NotFound()
	case v.needed:
		return s.Fail(picloud.CodeConflict, "it manages the cluster or runs its database",
			"stop a manager, and the next one can remove it; `picloud database restore` brings the database up on another node")
	}
	return s.Fail(picloud.CodeConflict, fmt.Sprintf("it is alive: it was last seen %.0f s ago", *v.silent),
		"stop it first, or remove it all the same with --force; a node that crashed counts as dead 3 minutes after it was last seen")
}

// verdict is the result of sqlNodeRemove.
type verdict struct {
	gone   bool
	silent *float64 // seconds since the node was seen; nil: there is no such node
	needed bool     // it cannot be done without
}

func verdictRow(row pgx.CollectableRow) (v verdict, err error) {
	err = row.Scan(&v.gone, &v.silent, &v.needed)
	return v, err
}

// Forget forgets nodes that were removed long ago. It is a duty of the manager, whose epoch it
// proves. It returns how many it forgot.
func (n Nodes) Forget(ctx context.Context, epoch int64) (forgotten int64, err error) {
	err = n.db.Lead(ctx, postgres.About("forget removed nodes", ""), epoch, func(b *pgx.Batch) {
		b.Queue(sqlRemovedForget).Exec(func(tag pgconn.CommandTag) error { forgotten = tag.RowsAffected(); return nil })
	})
	return forgotten, err
}

// ReportOwn is Report for a node whose database role has the rights of serving only.
func (n Nodes) ReportOwn(ctx context.Context, node picloud.Node) error {
	s := postgres.About("report node", node.Name)
	if err := picloud.CheckName("node", node.Name); err != nil {
		return err
	}
	var verdict, cluster string
	var removed, started *time.Time
	err := n.db.Run(ctx, n.db.Duties(), s, func(ctx context.Context) error {
		return n.db.Duties().QueryRow(ctx, sqlNodeReportOwn, node.ID, node.Name, picloud.Shorten(node.Version, 120), node.Rev, node.StartedAt, node.Place, node.Arch, node.Address).
			Scan(&verdict, &removed, &cluster, &started)
	})
	switch {
	case picloud.CodeOf(err) == picloud.CodeExists:
		return s.Fail(picloud.CodeConflict, "the name "+node.Name+" belongs to another node", "give this node a name of its own with PICLOUD_NODE_NAME")
	case err != nil || verdict == "ok":
		return err
	case verdict == "elsewhere" && started != nil:
		return isACopy(s, node.ID, *started)
	case removed != nil:
		return wasRemoved(s, node.ID, cluster, *removed)
	}
	return s.Fail(picloud.CodeNotInvited, fmt.Sprintf("the cluster %q does not know this node", cluster),
		"run `picloud node invite` on a node of the cluster, and start this node with the --join and --token that it prints")
}

// StopOwn is Stop for a node whose database role has the rights of serving only.
func (n Nodes) StopOwn(ctx context.Context, node picloud.Node) error {
	return n.db.Run(ctx, n.db.Duties(), postgres.About("report the stop of this node", ""), func(ctx context.Context) error {
		_, err := n.db.Duties().Exec(ctx, sqlNodeStopOwn, node.ID, node.Place)
		return err
	})
}

// isACopy tells a node that it runs at another place too.
func isACopy(s postgres.Subject, node string, started time.Time) error {
	return s.Fail(picloud.CodeConflict,
		fmt.Sprintf("node %s runs on another machine or data folder too, started %s: one of the two data folders is a copy",
			node, started.UTC().Format(time.RFC3339)),
		"if this is the copy, empty its data folder with `picloud node reset`, and let it join by an invitation; "+
			"if the data folder was moved here, stop the node at the old place, or wait for 90 seconds")
}

// wasRemoved tells a node that an admin removed it.
func wasRemoved(s postgres.Subject, node, cluster string, at time.Time) error {
	return s.Fail(picloud.CodeNotInvited, fmt.Sprintf("node %s was removed from the cluster %q on %s", node, cluster, at.UTC().Format(time.RFC3339)),
		"`picloud node reset` empties this node's data folder, so that it can join as a new node")
}

// List returns the nodes of the cluster, by name.
func (n Nodes) List(ctx context.Context) ([]picloud.Node, error) {
	return postgres.Rows(ctx, n.db, n.db.API(), postgres.About("list nodes", ""), nodeRow, sqlNodeList)
}

// ChangeLimits changes the default limits of a node. Edit makes the
// new limits from the present ones. It runs under the catalog's lock, so no other
// change comes between, and it must not block. ChangeLimits wakes the nodes if the
// limits differ. It returns the node and the catalog's revision that has the limits.
// Cluster admins may.
func (n Nodes) ChangeLimits(ctx context.Context, actor picloud.Actor, name string, edit func(picloud.Limits) (picloud.Limits, error)) (out picloud.Node, rev int64, err error) {
	return n.edit(ctx, actor, postgres.About("change node", name), func(ctx context.Context, c *postgres.Change, out *picloud.Node) error {
		limits, err := edit(out.Limits)
		if err == nil {
			err = limits.Check()
		}
		if err != nil {
			return err
		}
		if out.Limits == limits {
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
}

// Drain takes a node out of service, or puts it back, and wakes it if that is new. It
// returns the node and the catalog's revision that has it. Cluster admins may.
func (n Nodes) Drain(ctx context.Context, actor picloud.Actor, name string, drained bool) (out picloud.Node, rev int64, err error) {
	op := "drain node"
	if !drained {
		op = "resume node"
	}
	return n.edit(ctx, actor, postgres.About(op, name), func(ctx context.Context, c *postgres.Change, out *picloud.Node) error {
		if out.Draining == drained {
			return nil
		}
		out.Draining = drained
		if err := c.Bump(ctx); err != nil {
			return err
		}
		return c.Exec(ctx, sqlNodeDrained, name, drained)
	})
}

// Promote lets a node that serves functions only manage the cluster, too, and tells it. Cluster
// admins may.
func (n Nodes) Promote(ctx context.Context, actor picloud.Actor, name string) (out picloud.Node, err error) {
	out, _, err = n.edit(ctx, actor, postgres.About("promote node", name), func(ctx context.Context, c *postgres.Change, out *picloud.Node) error {
		if out.Role == picloud.RoleManager {
			return nil
		}
		out.Role = picloud.RoleManager
		return c.Exec(ctx, sqlNodePromote, name)
	})
	return out, err
}

// edit changes a node that is there, under the catalog's lock.
func (n Nodes) edit(ctx context.Context, actor picloud.Actor, s postgres.Subject, change func(context.Context, *postgres.Change, *picloud.Node) error) (out picloud.Node, rev int64, err error) {
	rev, err = n.db.ChangeAsAdmin(ctx, s, actor, func(ctx context.Context, c *postgres.Change) error {
		found, _ := c.Tx.Query(ctx, sqlNodeByName, s.Resource) // the rows carry the error
		nodes, err := pgx.CollectRows(found, nodeRow)
		if err != nil {
			return err
		}
		if len(nodes) == 0 {
			return s.NotFound()
		}
		out = nodes[0]
		return change(ctx, c, &out)
	})
	if err != nil {
		return picloud.Node{}, 0, err
	}
	return out, rev, nil
}
