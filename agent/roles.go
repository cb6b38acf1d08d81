package agent

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/fleet"
)

// limited reports whether this node's role in the database has the rights of serving only.
func (a *Agent) limited() bool {
	return a.serves() && a.cluster.State().Database.Role != ""
}

// serves reports whether this node serves functions only, and never manages.
func (a *Agent) serves() bool { return a.cluster.Peer().Role == identity.Node }

// schema brings the database's schema up to date, or makes sure that somebody did. With the
// schema go the rights of the other nodes.
func (a *Agent) schema(ctx context.Context) error {
	d := a.database
	if d.limited {
		return d.Migrated(ctx)
	}
	if err := d.Migrate(ctx); err != nil {
		return err
	}
	if a.serves() || !a.cluster.Member() {
		return nil
	}
	host := ""
	if d.server != nil {
		host = a.identity.ID
	}
	if err := d.Roles().Keep(ctx, host); err != nil {
		a.log.Warn("the database roles of other nodes are not as they should be", slog.Any("error", err))
	}
	return nil
}

// roleFor makes the database role of a new member, and says how the member reaches the
// database. On a server that lets PiCloud make no roles the members share the one that this
// node was given.
func (a *Agent) roleFor(ctx context.Context, node string, as picloud.NodeRole) (join.Database, error) {
	base, roles, name := a.cluster.State().Database, a.database.Roles(), fleet.RoleName(node)
	if base.DSN == "" {
		return join.Database{Host: base.Host, Generation: base.Generation, Role: name}, roles.Make(ctx, node, as, "")
	}
	password := rand.Text()
	err := roles.Make(ctx, node, as, password)
	if err == nil {
		var dsn string
		if dsn, err = postgres.DSNOf(base.DSN, name, password); err != nil {
			return join.Database{}, err
		}
		if err = answers(ctx, dsn); err == nil {
			return join.Database{DSN: dsn, Role: name}, nil
		}
	}
	if base.Role != "" {
		return join.Database{}, err // this node has no role that another one could share
	}
	a.log.Warn("a new node shares the database role of this one; `picloud doctor` says what to do", slog.String("node", node), slog.Any("error", err))
	return base, nil
}

// answers tries whether a DSN lets a node in: a pooler may not know the role, and the server
// may let only some roles log in.
func answers(ctx context.Context, dsn string) error {
	db, err := postgres.Open(postgres.Options{DSN: dsn})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Ping(ctx)
}

// reports is how this node reports itself, with the rights that it has.
type reports struct{ d *database }

// Report records what the node says of itself.
func (r reports) Report(ctx context.Context, n picloud.Node) error {
	if r.d.limited {
		return r.d.Nodes().ReportOwn(ctx, n)
	}
	return r.d.Nodes().Report(ctx, n)
}

// Stop records that the node stops.
func (r reports) Stop(ctx context.Context, n picloud.Node) error {
	if r.d.limited {
		return r.d.Nodes().StopOwn(ctx, n)
	}
	return r.d.Nodes().Stop(ctx, n)
}

// List returns the nodes of the cluster.
func (r reports) List(ctx context.Context) ([]picloud.Node, error) { return r.d.Nodes().List(ctx) }

// keeper keeps the nodes for the control API: what is done to a node in the database has
// its consequences among the nodes.
type keeper struct {
	fleet.Nodes
	a *Agent
}

// Remove removes a node, and takes from it what it has of the cluster.
func (k keeper) Remove(ctx context.Context, actor picloud.Actor, name string, force bool) error {
	if err := k.RemoveBut(ctx, []string{k.a.identity.ID, k.a.cluster.State().Database.Host}, actor, name, force); err != nil {
		return err
	}
	if err := k.a.learn(ctx); err != nil {
		k.a.log.Warn("a removed node may still have a session with the database; this is tried again", slog.Any("error", err))
	}
	k.a.membership.wake(true)
	return nil
}

// Promote lets a node that serves functions only manage the cluster, too. The rights in the
// database come first: a crash between leaves a node that serves as before.
func (k keeper) Promote(ctx context.Context, actor picloud.Actor, name string) (n picloud.Node, err error) {
	if !actor.Admin {
		return n, &picloud.Error{Code: picloud.CodeForbidden, Op: "promote node", Resource: name, Detail: "only cluster admins may"}
	}
	nodes, err := k.List(ctx)
	if err != nil {
		return n, err
	}
	i := slices.IndexFunc(nodes, func(n picloud.Node) bool { return n.Name == name && n.Role == picloud.RoleServing })
	if i >= 0 {
		if err := k.a.database.Roles().Promote(ctx, nodes[i].ID); err != nil {
			return n, err
		}
	}
	return k.Nodes.Promote(ctx, actor, name)
}
