package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) nodeCommand() *cobra.Command {
	return noun("node", "Show nodes, and change the limits that they give to functions",
		&cobra.Command{
			Use:   "ls",
			Short: "List the nodes of the cluster",
			Args:  args(0, 0),
			RunE:  c.listNodes,
		},
		&cobra.Command{
			Use:               "show NODE",
			Short:             "Show a node and the limits that it gives to functions",
			Args:              args(1, 1),
			ValidArgsFunction: c.completeNodes,
			RunE: func(cmd *cobra.Command, names []string) error {
				node, err := c.connect()
				if err != nil {
					return err
				}
				ctx, cancel := deadline(cmd.Context())
				defer cancel()
				n, err := client.Read[client.Node](node.GetNode(ctx, names[0]))
				if err != nil {
					return noNode(node.fail(err, "show node", names[0]))
				}
				return c.print(n, func() { c.printNode(n) })
			},
		},
		c.nodeSetCommand(),
	)
}

func (c *cli) nodeSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NODE",
		Short: "Change the limits of functions that set none, and whose app sets none (cluster admins only)",
		Long: "Change the limits that a node gives to functions which set none and whose app sets none. What is not named\n" +
			"stays as it is; --reset takes a limit back to its default. The node applies the change without a restart.",
		Example: "  picloud node set pi-zero --memory 32MiB --concurrency 8",
		Args:    args(1, 1),

		ValidArgsFunction: c.completeNodes,
	}
	flags := addSettings(cmd, limitSettings(), "limits")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		limits, err := flags.patch(cmd)
		if err != nil {
			return err
		}
		patch, err := json.Marshal(limits)
		if err != nil {
			return err
		}
		node, err := c.connect()
		if err != nil {
			return err
		}
		ctx, cancel := deadline(cmd.Context())
		defer cancel()
		n, err := client.Read[client.Node](node.UpdateNode(ctx, names[0], patch))
		if err != nil {
			return noNode(node.fail(err, "change node", names[0]))
		}
		return c.print(n, func() { c.printNode(n) })
	}
	return cmd
}

func (c *cli) printNode(n client.Node) {
	rows := [][]string{
		{"id", n.ID},
		{"version", n.Version},
		{"revision", fmt.Sprint(n.Rev)},
		{"started", c.ago(n.StartedAt)},
		{"seen", c.ago(n.SeenAt)},
	}
	c.table("NAME "+n.Name, append(rows, limitRows(source{"node", textsOf(n.Limits)})...))
}

func (c *cli) listNodes(cmd *cobra.Command, _ []string) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := deadline(cmd.Context())
	defer cancel()
	nodes, err := client.Read[client.NodeList](node.ListNodes(ctx))
	if err != nil {
		return node.fail(err, "list nodes", "")
	}
	return c.print(nodes.Items, func() {
		rows := make([][]string, 0, len(nodes.Items))
		for _, n := range nodes.Items {
			state := "away"
			if n.Alive(c.Now()) {
				state = "alive"
			}
			rows = append(rows, []string{n.Name, state, n.Version, fmt.Sprint(n.Rev), c.ago(n.SeenAt)})
		}
		c.table("NAME STATE VERSION REVISION SEEN", rows)
	})
}
