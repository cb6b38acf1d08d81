package node

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/setting"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) inviteCommand() *cobra.Command {
	var role string
	var uses int
	ttl := picloud.Duration(picloud.DefaultInvitation)
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Invite a new node to the cluster (cluster admins only)",
		Long: "Print the token of an invitation, and the command that starts a new node with it. The token is shown once.\n" +
			"The first invitation opens the cluster port of a node that was alone.",
		Example: "  picloud node invite\n  picloud node invite --uses 5 --ttl 24h",
		Args:    command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			life, as := ttl.String(), picloud.NodeRole(role)
			made, err := command.Call(c.Base, cmd, "invite node", "", func(ctx context.Context, node *command.Node) (client.InvitationToken, error) {
				return client.Read[client.InvitationToken](node.Invite(ctx, client.NewInvitation{Role: &as, Uses: &uses, TTL: &life}))
			})
			if err != nil {
				return err
			}
			return c.Print(made, func() { c.Printf("%s", invitation(made, time.Duration(ttl))) })
		},
	}
	cmd.Flags().StringVar(&role, "role", string(picloud.RoleManager), "manager: the node may become the manager; node: it serves functions only")
	cmd.Flags().IntVar(&uses, "uses", 1, "how many nodes the token lets in")
	setting.DurationVar(cmd, &ttl, "ttl", "how long the token is valid, 1m to 30d")
	return cmd
}

// invitation tells people what to do with a token.
func invitation(i client.InvitationToken, ttl time.Duration) string {
	many := "for one node"
	if i.Uses > 1 {
		many = fmt.Sprintf("for %d nodes", i.Uses)
	}
	return fmt.Sprintf("%s\nvalid %s, %s; on the new board run:\n  picloud run --join %s --token %s\n", i.Token, short(ttl), many, joinAddress(i.Address), i.Token)
}

// joinAddress leaves the default port out.
func joinAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err == nil && port == strconv.Itoa(picloud.DefaultClusterPort) {
		return host
	}
	return address
}

// short writes a duration without what is zero: "1 h".
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"0s", "0m"} {
		if rest, cut := strings.CutSuffix(text, zero); cut && rest != "" && (rest[len(rest)-1] == 'm' || rest[len(rest)-1] == 'h') {
			text = rest
		}
	}
	return text
}

func (c commands) invitationsCommand() *cobra.Command {
	return command.Noun("invitations", "List invitations, and take them back (cluster admins only)",
		&cobra.Command{
			Use: "ls", Aliases: command.ListAliases, Short: "List the invitations that can still be used", Args: command.Args(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				open, err := command.Call(c.Base, cmd, "list invitations", "", func(ctx context.Context, node *command.Node) (client.InvitationList, error) {
					return client.Read[client.InvitationList](node.ListInvitations(ctx))
				})
				if err != nil {
					return err
				}
				return c.Print(open.Items, func() {
					rows := make([][]string, 0, len(open.Items))
					for _, i := range open.Items {
						rows = append(rows, []string{i.ID, string(i.Role), fmt.Sprint(i.Uses), i.CreatedBy, i.ExpiresAt.Local().Format(time.DateTime)})
					}
					c.Table("ID ROLE USES BY EXPIRES", rows)
				})
			},
		},
		c.Removal(command.Removal{
			Use: "rm ID…", Short: "Take invitations back; the nodes that they let in stay", What: "invitation",
			Remove: func(ctx context.Context, node *command.Node, id string) error {
				_, err := client.Read[client.Nothing](node.DeleteInvitation(ctx, id))
				return node.Fail(err, "take back invitation", id)
			},
		}),
	)
}
