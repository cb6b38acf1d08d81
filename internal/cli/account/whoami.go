package account

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show as whom commands speak to which node, and where the token is from",
		Long: "Show as whom commands speak to which node, and where the token is from.\n\n" +
			"What is more explicit counts first: the flags --server, --token-file and --context; then PICLOUD_SERVER and\n" +
			"PICLOUD_TOKEN, PICLOUD_CONTEXT, and the credentials of the node whose data folder PICLOUD_DATA names; then the\n" +
			"login; then the credentials that nodes have left on this machine: in ./data, in ~/.local/share/picloud, and\n" +
			"in /var/lib/picloud. A ./data counts only if it belongs to you, to root, or to the user who called sudo.\n" +
			"A token from a file goes to the server that the same file names, and to no other.",
		Args: command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := c.Connect()
			if err != nil {
				return err
			}
			t := node.Target()
			session, err := command.Ask(cmd.Context(), node, "sign in at", t.Server, func(ctx context.Context, node *command.Node) (client.Session, error) {
				return client.Read[client.Session](node.GetSession(ctx))
			})
			if err != nil {
				return err
			}
			me := identity{
				User: session.User.Name, Admin: session.User.Admin, Server: t.Server, Node: session.Node,
				TokenFrom: t.TokenFrom, Context: t.Context, Functions: t.Functions.String(),
			}
			return c.Print(me, func() { c.printIdentity(me) })
		},
	}
}

// identity is what `picloud whoami` prints for programs.
type identity struct {
	User      string `json:"user"`
	Admin     bool   `json:"admin"`
	Server    string `json:"server"`
	Node      string `json:"node"`
	TokenFrom string `json:"token_from"`
	Context   string `json:"context,omitempty"`
	Functions string `json:"functions"`
}

func (c commands) printIdentity(me identity) {
	kind := "user"
	if me.Admin {
		kind = "cluster admin"
	}
	c.Table("USER "+me.User, [][]string{
		{"kind", kind},
		{"server", me.Server},
		{"node", me.Node},
		{"functions", me.Functions},
		{"token from", me.TokenFrom},
	})
}
