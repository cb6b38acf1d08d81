// Package node holds the commands for the nodes of the cluster.
package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/setting"
	"github.com/picloud/picloud/manager/api/client"
)

// Command returns `picloud node`.
func Command(base *command.Base) *cobra.Command {
	c := commands{base}
	return command.Noun("node", "Show nodes, and change the limits that they give to functions",
		&cobra.Command{
			Use:     "ls",
			Aliases: command.ListAliases,
			Short:   "List the nodes of the cluster",
			Long: "List the nodes of the cluster.\n" +
				"STATE is alive, away (the others do not hear it) or stopped. ROLE is manager for the one that manages the\n" +
				"cluster at this moment, voter for the others that elect it, standby for one that takes the place of a voter, and\n" +
				"node for those that take no part. While there is no manager, the node that is asked lists what it knows\n" +
				"itself. LAG is how many revisions of the catalog a node does not serve yet, CALLS how many calls run or\n" +
				"wait there.",
			Args: command.Args(0, 0),
			RunE: c.listNodes,
		},
		&cobra.Command{
			Use:               "show NODE",
			Short:             "Show a node and the limits that it gives to functions",
			Args:              command.Args(1, 1),
			ValidArgsFunction: c.CompleteNodes,
			RunE: func(cmd *cobra.Command, names []string) error {
				n, err := command.Call(c.Base, cmd, "show node", names[0], func(ctx context.Context, node *command.Node) (client.Node, error) {
					return client.Read[client.Node](node.GetNode(ctx, names[0]))
				})
				if err != nil {
					return failure.NoNode(err)
				}
				return c.Print(n, func() { c.Table("NAME "+n.Name, c.nodeRows(n)) })
			},
		},
		c.nodeSetCommand(),
		c.inviteCommand(),
		c.discoverCommand(),
		c.invitationsCommand(),
		c.drainCommand("drain", "Take a node out of service (cluster admins only)",
			"The node answers 503 to /readyz, so that balancers turn away, and serves the calls that come all the same.\n"+
				"It stays so over restarts, until picloud node resume.",
			func(ctx context.Context, node *command.Node, name string) (*http.Response, error) {
				return node.DrainNode(ctx, name)
			}),
		c.drainCommand("resume", "Put a drained node back into service (cluster admins only)", "",
			func(ctx context.Context, node *command.Node, name string) (*http.Response, error) {
				return node.ResumeNode(ctx, name)
			}),
		c.removeCommand(),
	)
}

// removeCommand returns `picloud node rm`.
func (c commands) removeCommand() *cobra.Command {
	var force bool
	cmd := c.Removal(command.Removal{
		Use: "rm NODE…", Short: "Remove nodes from the cluster (cluster admins only)", What: "node", Complete: c.CompleteNodes,
		Long: "Remove nodes that are dead or stopped, or with --force nodes that are alive. The other nodes refuse a removed\n" +
			"node at once, its way to the database is closed, and the keys of the gossip are changed. It goes on serving what\n" +
			"its disk copy has until it is stopped; picloud node reset makes a new node of it.",
		Remove: func(ctx context.Context, node *command.Node, name string) error {
			_, err := client.Read[client.Nothing](node.RemoveNode(ctx, name, &client.RemoveNodeParams{Force: &force}))
			return failure.NoNode(node.Fail(err, "remove node", name))
		},
	})
	cmd.Flags().BoolVar(&force, "force", false, "remove a node that is alive, too")
	return cmd
}

// drainCommand returns a command that changes whether a node is in service.
func (c commands) drainCommand(verb, short, long string, call func(ctx context.Context, node *command.Node, name string) (*http.Response, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NODE", Short: short, Long: long, Args: command.Args(1, 1), ValidArgsFunction: c.CompleteNodes,
		RunE: func(cmd *cobra.Command, names []string) error {
			n, err := command.Call(c.Base, cmd, verb+" node", names[0], func(ctx context.Context, node *command.Node) (client.Node, error) {
				return client.Read[client.Node](call(ctx, node, names[0]))
			})
			if err != nil {
				return failure.NoNode(err)
			}
			return c.Print(n, func() { c.Printf("node %s is %s\n", n.Name, state(n, c.Now())) })
		},
	}
}

// state says how a node is at a time.
func state(n client.Node, now time.Time) string {
	switch {
	case n.Stopped:
		return "stopped"
	case !n.Alive(now):
		return "away"
	case n.Draining:
		return "draining"
	}
	return "alive"
}

// commands are the commands of this package, on what all commands share.
type commands struct{ *command.Base }

func (c commands) nodeSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NODE",
		Short: "Change the limits of functions that set none, and whose app sets none (cluster admins only)",
		Long: "Change the limits that a node gives to functions which set none and whose app sets none. Limits that are\n" +
			"not named do not change; --reset takes a limit back to its default. The node applies the change without a restart.",
		Example: "  picloud node set pi-zero --memory 32MiB --concurrency 8",
		Args:    command.Args(1, 1),

		ValidArgsFunction: c.CompleteNodes,
	}
	flags := setting.AddFlags(cmd, setting.Limits(), "limits")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		limits, err := flags.Patch(cmd)
		if err != nil {
			return err
		}
		patch, err := json.Marshal(limits)
		if err != nil {
			return err
		}
		n, err := command.Call(c.Base, cmd, "change node", names[0], func(ctx context.Context, node *command.Node) (client.Node, error) {
			return client.Read[client.Node](node.UpdateNode(ctx, names[0], patch))
		})
		if err != nil {
			return failure.NoNode(err)
		}
		return c.Print(n, func() { c.Table("NAME "+n.Name, flags.Changed(cmd, c.nodeRows(n), nil)) })
	}
	return cmd
}

func (c commands) nodeRows(n client.Node) [][]string {
	rows := [][]string{
		{"id", n.ID},
		{"version", n.Version},
		{"revision", fmt.Sprint(n.Rev)},
		{"started", c.Ago(n.StartedAt)},
		{"seen", c.Ago(n.SeenAt)},
		{"state", state(n, c.Now())},
		{"role", role(n)},
		{"may manage", mayManage(n)},
	}
	return append(rows, setting.Rows(setting.Source{Name: "node", Limits: setting.TextsOf(n.Limits)})...)
}

func (c commands) listNodes(cmd *cobra.Command, _ []string) error {
	nodes, err := command.Call(c.Base, cmd, "list nodes", "", func(ctx context.Context, node *command.Node) (client.NodeList, error) {
		return client.Read[client.NodeList](node.ListNodes(ctx))
	})
	if errors.Is(err, picloud.ErrUnavailable) {
		if seen, ok := c.SeenHere(cmd.Context()); ok {
			nodes, err = client.NodeList{Items: seen.Nodes, SeenBy: seen.State.SeenBy, Trouble: seen.State.Trouble, Hint: seen.State.Hint}, nil
		}
	}
	if err != nil {
		return err
	}
	return c.Print(nodes.Items, func() {
		rows, last := make([][]string, 0, len(nodes.Items)), picloud.LastSeen(nodes.Items)
		for _, n := range nodes.Items {
			rows = append(rows, []string{n.Name, cmp.Or(n.Address, "-"), state(n, last), role(n), n.Version, fmt.Sprint(n.Rev), fmt.Sprint(n.Lag), cmp.Or(n.Arch, "-"), load(n), c.Ago(n.SeenAt)})
		}
		c.Table("NAME ADDRESS STATE ROLE VERSION REVISION LAG ARCH CALLS SEEN", rows)
		managed := slices.ContainsFunc(nodes.Items, func(n client.Node) bool { return n.Manager })
		c.NoteSeen(nodes.SeenBy, managed, nodes.Trouble, nodes.Hint)
	})
}

// role is what a node is in the cluster at this moment.
func role(n client.Node) string {
	switch {
	case n.Manager:
		return "manager"
	case n.Seat != "":
		return string(n.Seat)
	}
	return "node"
}

// mayManage says whether the node may become the manager.
func mayManage(n client.Node) string {
	if n.Role == picloud.RoleManager {
		return "yes"
	}
	return "no"
}

// load is how many calls a node has.
func load(n client.Node) string {
	if n.Running == nil {
		return "-"
	}
	return fmt.Sprint(*n.Running)
}
