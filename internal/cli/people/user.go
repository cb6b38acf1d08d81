package people

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) userCommand() *cobra.Command {
	return command.Noun("user", "Manage users and their tokens (cluster admins only)",
		&cobra.Command{
			Use:   "ls",
			Short: "List the users",
			Args:  command.Args(0, 0),
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.listUsers(cmd) },
		},
		c.userAddCommand(),
		c.userTokenCommand(),
		c.Removal("rm USER", "Delete a user, the token and the memberships", "user", nil,
			func(ctx context.Context, node *command.Node, name string) error {
				_, err := client.Read[client.Nothing](node.DeleteUser(ctx, name))
				return node.Fail(err, "delete user", name)
			}),
	)
}

func (c commands) userAddCommand() *cobra.Command {
	var admin bool
	cmd := &cobra.Command{
		Use:   "add USER",
		Short: "Create a user and print the API token, this once",
		Long: "Create a user and print the API token on standard output. It is shown this once: the database keeps\n" +
			"only a digest of it.",
		Example: "  picloud user add ada > ada.token",
		Args:    command.Args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			u, err := command.Call(c.Base, cmd, "create user", names[0], func(ctx context.Context, node *command.Node) (client.UserToken, error) {
				return client.Read[client.UserToken](node.CreateUser(ctx, client.NewUser{Name: names[0], Admin: admin}))
			})
			if err != nil {
				return err
			}
			c.Notef("user %s created; the token is shown this once:", u.User.Name)
			return c.Print(u, func() { c.Printf("%s\n", u.Token) })
		},
	}
	cmd.Flags().BoolVar(&admin, "admin", false, "may administer the cluster, and is owner of every app")
	return cmd
}

func (c commands) userTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token USER",
		Short: "Replace a user's API token and print the new one, this once",
		Long:  "Replace a user's API token and print the new one on standard output. The old one ends at once.",
		Args:  command.Args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			t, err := command.Call(c.Base, cmd, "replace token of", names[0], func(ctx context.Context, node *command.Node) (client.NewToken, error) {
				return client.Read[client.NewToken](node.RotateToken(ctx, names[0]))
			})
			if err != nil {
				return err
			}
			c.Notef("the old token of %s has ended; the new one is shown this once:", names[0])
			return c.Print(t, func() { c.Printf("%s\n", t.Token) })
		},
	}
}

func (c commands) listUsers(cmd *cobra.Command) error {
	users, more, err := command.List(c.Base, cmd, "list users", "", func(ctx context.Context, node *command.Node, limit *int, cursor *string) ([]client.User, string, error) {
		page, err := client.Read[client.UserList](node.ListUsers(ctx, &client.ListUsersParams{Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
	if err != nil {
		return err
	}
	defer c.Cut(more)
	return c.Print(users, func() {
		rows := make([][]string, 0, len(users))
		for _, u := range users {
			kind := "user"
			if u.Admin {
				kind = "admin"
			}
			rows = append(rows, []string{u.Name, kind, c.Ago(u.CreatedAt)})
		}
		c.Table("NAME KIND CREATED", rows)
	})
}
