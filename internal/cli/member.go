package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) memberCommand() *cobra.Command {
	add := &cobra.Command{
		Use:     "add USER ROLE",
		Short:   "Make a user a member of the app",
		Long:    "Make a user a member of the app. A membership that exists is never changed: exit code 4.\nRoles: " + roleList() + "; each includes those before it.",
		Example: "  picloud member add ada developer --app shop",
		RunE: c.memberChange("add member", func(ctx context.Context, node *connection, user string, role picloud.Role) (client.Member, error) {
			return client.Read[client.Member](node.AddMember(ctx, c.app, client.NewMember{User: user, Role: role}))
		}),
	}
	change := &cobra.Command{
		Use:     "role USER ROLE",
		Short:   "Change a member's role",
		Long:    "Change a member's role. A membership that does not exist is never created: exit code 3.\nRoles: " + roleList() + "; each includes those before it.",
		Example: "  picloud member role ada admin --app shop",
		RunE: c.memberChange("change member", func(ctx context.Context, node *connection, user string, role picloud.Role) (client.Member, error) {
			return client.Read[client.Member](node.SetMemberRole(ctx, c.app, user, client.MemberPatch{Role: role}))
		}),
	}
	for _, cmd := range []*cobra.Command{add, change} {
		cmd.Args = args(2, 2)
		cmd.ValidArgsFunction = completeRole
	}
	return noun("member", "Manage who may do what in an app",
		&cobra.Command{
			Use:   "ls",
			Short: "List the members of the app",
			Args:  args(0, 0),
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.listMembers(cmd.Context()) },
		},
		add, change,
		c.removal("rm USER", "Remove a member from the app", "member", nil,
			func(ctx context.Context, node *connection, user string) error {
				_, err := client.Read[client.Nothing](node.RemoveMember(ctx, c.app, user))
				return node.fail(err, "remove member", c.app+"/"+user)
			}),
	)
}

// memberChange makes the RunE of a command that takes USER ROLE.
func (c *cli) memberChange(op string, send func(context.Context, *connection, string, picloud.Role) (client.Member, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) error {
		role := picloud.Role(given[1])
		if !role.Valid() {
			return usagef(cmd, "%q is not a role: %s", given[1], roleList())
		}
		node, err := c.connect()
		if err != nil {
			return err
		}
		ctx, cancel := deadline(cmd.Context())
		defer cancel()
		m, err := send(ctx, node, given[0], role)
		if err != nil {
			return node.fail(err, op, c.app+"/"+given[0])
		}
		return c.print(m, func() { c.printf("%s is %s of app %s\n", m.User, m.Role, m.App) })
	}
}

func (c *cli) listMembers(ctx context.Context) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := deadline(ctx)
	defer cancel()
	members, more, err := pages(func(limit *int, cursor *string) ([]client.Member, string, error) {
		page, err := client.Read[client.MemberList](node.ListMembers(ctx, c.app, &client.ListMembersParams{Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
	if err != nil {
		return noApp(node.fail(err, "list members of", c.app), c.app)
	}
	defer c.cut(more)
	return c.print(members, func() {
		rows := make([][]string, 0, len(members))
		for _, m := range members {
			rows = append(rows, []string{m.User, string(m.Role), m.GrantedBy, c.ago(m.UpdatedAt)})
		}
		c.table("USER ROLE BY CHANGED", rows)
	})
}

func roleList() string {
	names := make([]string, 0, len(picloud.Roles))
	for _, r := range picloud.Roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

func completeRole(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return strings.Split(roleList(), ", "), cobra.ShellCompDirectiveNoFileComp
}
