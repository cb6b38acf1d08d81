package command

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

// completionTimeout bounds what the shell waits for when Tab is pressed.
const completionTimeout = 2 * time.Second

// CompleteFunctions offers the names of the app's functions for the first argument.
func (c *Base) CompleteFunctions(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		functions, _, _ := pages(func(limit *int, cursor *string) ([]client.Function, string, error) {
			return node.Functions(ctx, c.App, limit, cursor)
		})
		for _, f := range functions {
			names = append(names, f.Name)
		}
		return names
	})
}

// CompleteSecrets offers the names of the app's secrets for the first argument.
func (c *Base) CompleteSecrets(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		secrets, _ := client.Read[client.SecretList](node.ListSecrets(ctx, c.App))
		for _, s := range secrets.Items {
			names = append(names, s.Name)
		}
		return names
	})
}

// CompleteNodes offers the names of nodes for the first argument.
func (c *Base) CompleteNodes(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		nodes, _ := client.Read[client.NodeList](node.ListNodes(ctx))
		for _, n := range nodes.Items {
			names = append(names, n.Name)
		}
		return names
	})
}

// CompleteApps offers the names of apps.
func (c *Base) CompleteApps(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		apps, _, _ := pages(func(limit *int, cursor *string) ([]client.App, string, error) {
			return node.Apps(ctx, limit, cursor)
		})
		for _, a := range apps {
			names = append(names, a.Name)
		}
		return names
	})
}

func (c *Base) complete(cmd *cobra.Command, names func(context.Context, *Node) []string) ([]string, cobra.ShellCompDirective) {
	node, err := c.Connect()
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
