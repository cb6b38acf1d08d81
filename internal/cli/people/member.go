package people

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) memberCommand() *cobra.Command {
	add := &cobra.Command{
		Use:     "add USER ROLE",
		Short:   "Make a user a member of the app",
		Long:    "Make a user a member of the app. A membership that exists is never changed: exit code 4.\nRoles: " + roleList() + "; each includes those before it.",
		Example: "  picloud member add ada developer --app shop",
		RunE: c.memberChange("add member", func(ctx context.Context, node *command.Node, user string, role picloud.Role) (client.Member, error) {
			return client.Read[client.Member](node.AddMember(ctx, c.App, client.NewMember{User: user, Role: role}))
		}),
	}
	change := &cobra.Command{
		Use:     "role USER ROLE",
		Short:   "Change a member's role",
		Long:    "Change a member's role. A membership that does not exist is never created: exit code 3.\nRoles: " + roleList() + "; each includes those before it.",
		Example: "  picloud member role ada admin --app shop",
		RunE: c.memberChange("change member", func(ctx context.Context, node *command.Node, user string, role picloud.Role) (client.Member, error) {
			return client.Read[client.Member](node.SetMemberRole(ctx, c.App, user, client.MemberPatch{Role: role}))
		}),
	}
	add.Args, change.Args = command.Args(2, 2), command.Args(2, 2)
	add.ValidArgsFunction = completeMember(c.CompleteUsers)
	change.ValidArgsFunction = completeMember(c.CompleteMembers)
	return command.Noun("member", "Manage who may do what in an app",
		&cobra.Command{
			Use:     "ls",
			Aliases: command.ListAliases,
			Short:   "List the members of the app",
			Args:    command.Args(0, 0),
			RunE:    func(cmd *cobra.Command, _ []string) error { return c.listMembers(cmd) },
		},
		add, change,
		c.Removal(command.Removal{
			Use: "rm USER…", Short: "Remove members from the app", What: "member", Complete: c.CompleteMembers,
			Remove: func(ctx context.Context, node *command.Node, user string) error {
				_, err := client.Read[client.Nothing](node.RemoveMember(ctx, c.App, user))
				return failure.NotFound(node.Fail(err, "remove member", c.App+"/"+user), failure.InApp("picloud member ls", c.App)+" lists those that are there")
			},
		}),
	)
}

// memberChange returns the RunE of a command that takes USER ROLE.
func (c commands) memberChange(op string, send func(context.Context, *command.Node, string, picloud.Role) (client.Member, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, given []string) error {
		role := picloud.Role(given[1])
		if !role.Valid() {
			return failure.Usagef(cmd, "%q is not a role: %s", given[1], roleList())
		}
		m, err := command.Call(c.Base, cmd, op, c.App+"/"+given[0], func(ctx context.Context, node *command.Node) (client.Member, error) {
			return send(ctx, node, given[0], role)
		})
		if err != nil {
			err = failure.Exists(err, "change the role with: "+failure.InApp("picloud member role "+given[0]+" "+string(role), c.App))
			return failure.NotFound(err, "users are made by: picloud user add; members by: "+failure.InApp("picloud member add", c.App))
		}
		return c.Print(m, func() { c.Printf("%s is %s of app %s\n", m.User, m.Role, m.App) })
	}
}

func (c commands) listMembers(cmd *cobra.Command) error {
	members, more, err := command.List(c.Base, cmd, "list members of", c.App, func(ctx context.Context, node *command.Node, limit *int, cursor *string) ([]client.Member, string, error) {
		page, err := client.Read[client.MemberList](node.ListMembers(ctx, c.App, &client.ListMembersParams{Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
	if err != nil {
		return failure.NoApp(err, c.App)
	}
	defer c.Cut(more)
	return c.Print(members, func() {
		rows := make([][]string, 0, len(members))
		for _, m := range members {
			rows = append(rows, []string{m.User, string(m.Role), m.GrantedBy, c.Ago(m.UpdatedAt)})
		}
		c.Table("USER ROLE BY CHANGED", rows)
	})
}

func roleList() string {
	names := make([]string, 0, len(picloud.Roles))
	for _, r := range picloud.Roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// completeMember completes USER ROLE: first with complete, then with the roles.
func completeMember(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(given) == 0 {
			return complete(cmd, given, typed)
		}
		return completeRole(cmd, given, typed)
	}
}

func completeRole(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(given) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return strings.Split(roleList(), ", "), cobra.ShellCompDirectiveNoFileComp
}
