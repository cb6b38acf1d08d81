package people

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) userCommand() *cobra.Command {
	return command.Noun("user", "Manage users and their tokens (cluster admins only)",
		&cobra.Command{
			Use:     "ls",
			Aliases: command.ListAliases,
			Short:   "List the users",
			Args:    command.Args(0, 0),
			RunE:    func(cmd *cobra.Command, _ []string) error { return c.listUsers(cmd) },
		},
		c.userAddCommand(),
		c.userTokenCommand(),
		c.Removal(command.Removal{
			Use: "rm USER…", Short: "Delete users, their tokens and their memberships", What: "user", Complete: c.CompleteUsers,
			Remove: func(ctx context.Context, node *command.Node, name string) error {
				_, err := client.Read[client.Nothing](node.DeleteUser(ctx, name))
				return failure.NotFound(node.Fail(err, "delete user", name), "picloud user ls lists those that are there")
			},
		}),
	)
}

func (c commands) userAddCommand() *cobra.Command {
	var admin bool
	var save string
	cmd := &cobra.Command{
		Use:   "add USER",
		Short: "Create a user and print the API token, this once",
		Long: "Create a user and print the API token on standard output, or save it with --save in a file that only you can\n" +
			"read. It is to be had this once: the database keeps only a digest of it.",
		Example: "  picloud user add ada --save ada.token",
		Args:    command.Args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := checkSave(save); err != nil {
				return err
			}
			u, err := command.Call(c.Base, cmd, "create user", names[0], func(ctx context.Context, node *command.Node) (client.UserToken, error) {
				return client.Read[client.UserToken](node.CreateUser(ctx, client.NewUser{Name: names[0], Admin: admin}))
			})
			if err != nil {
				return failure.Exists(err, "picloud user token "+names[0]+" makes a new token for that user")
			}
			return c.handOver(token{User: &u.User, Token: u.Token, name: u.User.Name, event: "user " + u.User.Name + " created"}, save)
		},
	}
	cmd.Flags().BoolVar(&admin, "admin", false, "may administer the cluster, and is owner of every app")
	addSave(cmd, &save)
	return cmd
}

func (c commands) userTokenCommand() *cobra.Command {
	var save string
	var local bool
	cmd := &cobra.Command{
		Use:   "token USER",
		Short: "Replace a user's API token and print the new one, this once",
		Long: "Replace a user's API token and print the new one on standard output, or save it with --save in a file that\n" +
			"only you can read. The old one ends at once. When it is the token that you use yourself, the files on this\n" +
			"machine that held it get the new one.\n\n" +
			"--local needs no token: it asks the node that runs on this machine through the socket in its data folder, which\n" +
			"only the node's user and root can open, as they can read its cluster.key. So whoever owns the machine can\n" +
			"always make a token for an admin. PICLOUD_DATA names the folder, if it is not one of the usual ones. The node\n" +
			"must run and reach its database; it logs what was done.",
		Example: "  picloud user token ada --save ada.token\n" +
			"  sudo picloud user token admin --local",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteUsers,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := checkSave(save); err != nil {
				return err
			}
			if local {
				return c.replaceTokenHere(cmd, names[0], save)
			}
			return c.replaceToken(cmd, names[0], save)
		},
	}
	cmd.Flags().BoolVar(&local, "local", false, "ask the node on this machine, without a token")
	addSave(cmd, &save)
	return cmd
}

// replaceToken replaces the token of a user. When it is the one that the command
// itself uses, the files that hold it get the new one.
func (c commands) replaceToken(cmd *cobra.Command, user, save string) error {
	node, err := c.Connect()
	if err != nil {
		return err
	}
	t, err := command.Ask(cmd.Context(), node, "replace token of", user, func(ctx context.Context, node *command.Node) (client.NewToken, error) {
		return client.Read[client.NewToken](node.RotateToken(ctx, user))
	})
	if err != nil {
		return failure.NotFound(err, "picloud user ls lists those that are there")
	}
	made := token{Token: t.Token, name: user, event: "the old token of " + user + " has ended"}
	if node.User() != user {
		return c.handOver(made, save)
	}
	old := node.Target()
	renewed, err := c.Target.Renew(old.Token, t.Token)
	made.Renewed = renewed
	printed := c.handOver(made, save)
	switch {
	case err != nil:
		c.Warnf("%v; it still holds the old one", err)
	case old.TokenFrom == "PICLOUD_TOKEN":
		c.Warnf("PICLOUD_TOKEN still holds the old token: set it to the new one")
	case len(renewed) == 0:
		c.Warnf("%s still holds the old token", failure.StreamName(old.TokenFrom))
	}
	return printed
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
			rows = append(rows, []string{u.Name, kindOf(u), c.Ago(u.CreatedAt)})
		}
		c.Table("NAME KIND CREATED", rows)
	})
}

func kindOf(u picloud.User) string {
	if u.Admin {
		return "admin"
	}
	return "user"
}
