package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

// completionTimeout bounds what the shell waits for when Tab is pressed.
const completionTimeout = 2 * time.Second

// completeFunctions offers the names of the app's functions for the first argument.
func (c *cli) completeFunctions(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, node *connection) (names []string) {
		functions, _, _ := node.functions(ctx, c.app)
		for _, f := range functions {
			names = append(names, f.Name)
		}
		return names
	})
}

// completeSecrets offers the names of the app's secrets for the first argument.
func (c *cli) completeSecrets(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, node *connection) (names []string) {
		secrets, _ := client.Read[client.SecretList](node.ListSecrets(ctx, c.app))
		for _, s := range secrets.Items {
			names = append(names, s.Name)
		}
		return names
	})
}

// completeNodes offers the names of nodes for the first argument.
func (c *cli) completeNodes(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, node *connection) (names []string) {
		nodes, _ := client.Read[client.NodeList](node.ListNodes(ctx))
		for _, n := range nodes.Items {
			names = append(names, n.Name)
		}
		return names
	})
}

// completeApps offers the names of apps.
func (c *cli) completeApps(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.complete(cmd, func(ctx context.Context, node *connection) (names []string) {
		apps, _, _ := node.apps(ctx)
		for _, a := range apps {
			names = append(names, a.Name)
		}
		return names
	})
}

func (c *cli) complete(cmd *cobra.Command, names func(context.Context, *connection) []string) ([]string, cobra.ShellCompDirective) {
	node, err := c.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTimeout)
	defer cancel()
	return names(ctx, node), cobra.ShellCompDirectiveNoFileComp
}
