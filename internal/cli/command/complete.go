package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

// completionTimeout bounds what the shell waits for when Tab is pressed.
const completionTimeout = 2 * time.Second

// CompleteFunctions offers the names of the app's functions for the first argument.
func (c *Base) CompleteFunctions(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.Complete(cmd, c.functionNames)
}

// CompleteMoreFunctions offers the names of the app's functions for every argument,
// without those that were given.
func (c *Base) CompleteMoreFunctions(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.Complete(cmd, func(ctx context.Context, node *Node) []string {
		return slices.DeleteFunc(c.functionNames(ctx, node), func(name string) bool { return slices.Contains(given, name) })
	})
}

func (c *Base) functionNames(ctx context.Context, node *Node) (names []string) {
	functions, _, _ := pages(func(limit *int, cursor *string) ([]client.Function, string, error) {
		return node.Functions(ctx, c.App, limit, cursor)
	})
	for _, f := range functions {
		names = append(names, f.Name)
	}
	return names
}

// CompleteVersions offers the versions of the function that is the first argument, for
// a flag.
func (c *Base) CompleteVersions(cmd *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	versions, directive := c.Complete(cmd, func(ctx context.Context, node *Node) (versions []string) {
		page, _ := client.Read[client.VersionList](node.ListVersions(ctx, c.App, given[0], &client.ListVersionsParams{}))
		for _, v := range page.Items {
			versions = append(versions, fmt.Sprintf("v%d", v.Number))
		}
		return versions
	})
	return versions, directive | cobra.ShellCompDirectiveKeepOrder
}

// CompleteSecrets offers the names of the app's secrets.
func (c *Base) CompleteSecrets(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.Complete(cmd, func(ctx context.Context, node *Node) (names []string) {
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
	return c.Complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		nodes, _ := client.Read[client.NodeList](node.ListNodes(ctx))
		for _, n := range nodes.Items {
			names = append(names, n.Name)
		}
		return names
	})
}

// CompleteApps offers the names of apps.
func (c *Base) CompleteApps(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.Complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		apps, _, _ := pages(func(limit *int, cursor *string) ([]client.App, string, error) {
			return node.Apps(ctx, limit, cursor)
		})
		for _, a := range apps {
			names = append(names, a.Name)
		}
		return names
	})
}

// CompleteUsers offers the names of users, which cluster admins see.
func (c *Base) CompleteUsers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.Complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		page, _ := client.Read[client.UserList](node.ListUsers(ctx, &client.ListUsersParams{}))
		for _, u := range page.Items {
			names = append(names, u.Name)
		}
		return names
	})
}

// CompleteMembers offers the members of the app.
func (c *Base) CompleteMembers(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.Complete(cmd, func(ctx context.Context, node *Node) (names []string) {
		page, _ := client.Read[client.MemberList](node.ListMembers(ctx, c.App, &client.ListMembersParams{}))
		for _, m := range page.Items {
			names = append(names, m.User)
		}
		return names
	})
}

// CompleteContexts offers the names of contexts.
func (c *Base) CompleteContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	logins, _, err := c.Target.Logins()
	if err != nil {
		logins = target.Logins{}
	}
	return logins.Names(), cobra.ShellCompDirectiveNoFileComp
}

// Complete offers names that a node knows. It offers none when the node does not
// answer in time, and never the names of files.
func (c *Base) Complete(cmd *cobra.Command, names func(context.Context, *Node) []string) ([]string, cobra.ShellCompDirective) {
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
