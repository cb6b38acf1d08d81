package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) userCommand() *cobra.Command {
	return noun("user", "Manage users and their tokens (cluster admins only)",
		&cobra.Command{
			Use:   "ls",
			Short: "List the users",
			Args:  args(0, 0),
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.listUsers(cmd.Context()) },
		},
		c.userAddCommand(),
		c.userTokenCommand(),
		c.removal("rm USER", "Delete a user, the token and the memberships", "user", nil,
			func(ctx context.Context, node *connection, name string) error {
				_, err := client.Read[client.Nothing](node.DeleteUser(ctx, name))
				return node.fail(err, "delete user", name)
			}),
	)
}

func (c *cli) userAddCommand() *cobra.Command {
	var admin bool
	cmd := &cobra.Command{
		Use:   "add USER",
		Short: "Create a user and print the API token, this once",
		Long: "Create a user and print the API token on standard output. It is shown this once: the database keeps\n" +
			"only a digest of it.",
		Example: "  picloud user add ada > ada.token",
		Args:    args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			u, err := client.Read[client.UserToken](node.CreateUser(ctx, client.NewUser{Name: names[0], Admin: admin}))
			if err != nil {
				return node.fail(err, "create user", names[0])
			}
			c.notef("user %s created; the token is shown this once:", u.User.Name)
			return c.print(u, func() { c.printf("%s\n", u.Token) })
		},
	}
	cmd.Flags().BoolVar(&admin, "admin", false, "may administer the cluster, and is owner of every app")
	return cmd
}

func (c *cli) userTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token USER",
		Short: "Replace a user's API token and print the new one, this once",
		Long:  "Replace a user's API token and print the new one on standard output. The old one ends at once.",
		Args:  args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			t, err := client.Read[client.NewToken](node.RotateToken(ctx, names[0]))
			if err != nil {
				return node.fail(err, "replace token of", names[0])
			}
			c.notef("the old token of %s has ended; the new one is shown this once:", names[0])
			return c.print(t, func() { c.printf("%s\n", t.Token) })
		},
	}
}

func (c *cli) listUsers(ctx context.Context) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := deadline(ctx)
	defer cancel()
	users, more, err := pages(func(limit *int, cursor *string) ([]client.User, string, error) {
		page, err := client.Read[client.UserList](node.ListUsers(ctx, &client.ListUsersParams{Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
	if err != nil {
		return node.fail(err, "list users", "")
	}
	defer c.cut(more)
	return c.print(users, func() {
		rows := make([][]string, 0, len(users))
		for _, u := range users {
			kind := "user"
			if u.Admin {
				kind = "admin"
			}
			rows = append(rows, []string{u.Name, kind, c.ago(u.CreatedAt)})
		}
		c.table("NAME KIND CREATED", rows)
	})
}
