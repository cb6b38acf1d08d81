package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) appCommand() *cobra.Command {
	return noun("app", "Manage apps: groups of functions that share members and executors",
		&cobra.Command{
			Use:   "ls",
			Short: "List the apps that you are a member of",
			Args:  args(0, 0),
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.listApps(cmd.Context()) },
		},
		&cobra.Command{
			Use:   "add APP",
			Short: "Create an app; you become its owner",
			Args:  args(1, 1),
			RunE: func(cmd *cobra.Command, names []string) error {
				node, err := c.connect()
				if err != nil {
					return err
				}
				ctx, cancel := deadline(cmd.Context())
				defer cancel()
				app, err := client.Read[client.App](node.CreateApp(ctx, client.NewApp{Name: names[0]}))
				if err != nil {
					return node.fail(err, "create app", names[0])
				}
				return c.print(app, func() { c.printf("app %s created\n", app.Name) })
			},
		},
		c.appShowCommand(),
		c.appSetCommand(),
		c.removal("rm APP", "Delete an app with its functions and members", "app", c.completeApps,
			func(ctx context.Context, node *connection, name string) error {
				_, err := client.Read[client.Nothing](node.DeleteApp(ctx, name))
				return node.fail(err, "delete app", name)
			}),
	)
}

func (c *cli) listApps(ctx context.Context) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	apps, more, err := node.apps(ctx)
	if err != nil {
		return node.fail(err, "list apps", "")
	}
	defer c.cut(more)
	return c.print(apps, func() {
		if len(apps) == 0 {
			c.notef("You are a member of no app. Make one with: picloud app add NAME, or let its admin add you: picloud member add USER ROLE --app APP")
			return
		}
		rows := make([][]string, 0, len(apps))
		for _, a := range apps {
			rows = append(rows, []string{a.Name, c.ago(a.CreatedAt)})
		}
		c.table("NAME CREATED", rows)
	})
}

// apps fetches the apps that the user can see.
func (n *connection) apps(ctx context.Context) ([]client.App, bool, error) {
	ctx, cancel := deadline(ctx)
	defer cancel()
	return pages(func(limit *int, cursor *string) ([]client.App, string, error) {
		page, err := client.Read[client.AppList](n.ListApps(ctx, &client.ListAppsParams{Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
}
