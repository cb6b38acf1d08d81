package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/local"
	"github.com/picloud/picloud/manager/api/client"
)

// recoverCommand returns `picloud cluster recover`.
func (c commands) recoverCommand() *cobra.Command {
	return c.onThisNode(&cobra.Command{
		Use:   "recover",
		Short: "Make this machine's node the only voter: the majority of the voters is lost for good",
		Long: "Make the node of this machine the only voter of its cluster, when the majority of the voters is lost for\n" +
			"good and there is no manager. Run it on one node that is left, and on no other: the other ones join its\n" +
			"elections by themselves within two minutes. It needs the database, and asks the node over its socket, so that\n" +
			"it needs no token.\n\n" +
			"It changes who elects, and nothing else: no function, no data, no member. Remove the lost nodes afterwards\n" +
			"with picloud node rm. One that comes back all the same is taken in as it is; two managers that write there\n" +
			"are never, because each change proves its epoch to the database.",
		Example: "  picloud cluster status          # which voters are gone?\n  picloud cluster recover",
	}, false)
}

// adoptCommand returns `picloud cluster adopt`.
func (c commands) adoptCommand() *cobra.Command {
	return c.onThisNode(&cobra.Command{
		Use:   "adopt",
		Short: "Let the elections begin anew for a database that knows later terms than they can have",
		Long: "Let the elections of the cluster begin anew, terms and all, with the node of this machine. Use it when\n" +
			"recover does not help: the nodes elect, and the database refuses whoever is elected (\"another node manages\n" +
			"the cluster now\" in the log of each), because it comes from a cluster whose terms were higher. Epochs go\n" +
			"on, so that whoever managed before is refused. When a majority of the voters is alive it stays: only the\n" +
			"database begins anew.",
	}, true)
}

// onThisNode makes a command that a node of this machine carries out.
func (c commands) onThisNode(cmd *cobra.Command, adopt bool) *cobra.Command {
	var yes bool
	q := local.Recovery{Adopt: adopt}
	cmd.Args = command.Args(0, 0)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&q.Force, "force", false, "also while a majority of the voters is alive, or a node manages")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ask := q
		ask.Try = true
		folder, plan, err := c.ask(cmd, ask)
		if err != nil {
			return err
		}
		if !yes {
			for _, line := range planOf(plan, adopt) {
				c.Notef("%s", line)
			}
			if err := c.Confirm(cmd, "makes "+plan.Node+" the only voter of the cluster "+plan.Cluster, "Go on?", "changed"); err != nil {
				return err
			}
		}
		done, err := local.Recover(cmd.Context(), folder, q)
		if err != nil {
			return failure.Explain(err, cmd.Name()+" cluster", plan.Cluster)
		}
		return c.Print(done, func() {
			if done.Manager == "" {
				c.Printf("%s is the only voter of the cluster %s; it does not manage yet: picloud cluster status says why\n", done.Node, done.Cluster)
				return
			}
			c.Printf("%s manages the cluster %s\n", done.Manager, done.Cluster)
			if len(done.Lost) > 0 {
				c.Notef("picloud: remove what is lost: picloud node rm %s", strings.Join(done.Lost, " "))
			}
		})
	}
	return cmd
}

// planOf says what a recovery would do.
func planOf(plan local.Recovered, adopt bool) []string {
	lines := []string{fmt.Sprintf("%s becomes the only voter of the cluster %q.", plan.Node, plan.Cluster)}
	if len(plan.Lost) > 0 {
		lines = append(lines, "These voters do not answer, and lose their vote: "+strings.Join(plan.Lost, ", ")+". Is one of them only switched off? Then switch it on instead.")
	}
	if len(plan.Alive) > 0 {
		lines = append(lines, "These voters are alive, and follow it: "+strings.Join(plan.Alive, ", ")+".")
	}
	if adopt {
		lines = append(lines, "The database forgets the terms of the elections; whoever manages loses that.")
	}
	return lines
}

// ask asks the nodes of this machine, and returns the data folder of the one that answers.
func (c commands) ask(cmd *cobra.Command, q local.Recovery) (folder string, plan local.Recovered, err error) {
	op := cmd.Name() + " cluster"
	var looked []string
	for folder := range c.Folders(&looked) {
		plan, err := local.Recover(cmd.Context(), folder, q)
		away, denied, foreign := (*local.Away)(nil), (*local.Denied)(nil), (*datadir.Foreign)(nil)
		switch {
		case err == nil:
			return folder, plan, nil
		case errors.As(err, &away):
			looked = append(looked, folder+": no node runs there")
		case errors.As(err, &denied):
			looked = append(looked, folder+": permission denied")
		case errors.As(err, &foreign):
			looked = append(looked, foreign.Path+": "+foreign.Detail())
		default:
			return "", plan, failure.Explain(err, op, "")
		}
	}
	return "", plan, &picloud.Error{
		Code: picloud.CodeInvalid, Op: op, Detail: "no node of this machine can be asked:\n    " + strings.Join(looked, "\n    "),
		Hint: "run it on the machine of a node that runs, as the node's user or with sudo; PICLOUD_DATA names its data folder",
	}
}

// promoteCommand returns `picloud cluster promote`.
func (c commands) promoteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "promote NODE",
		Short: "Let a node that serves functions only manage the cluster, too (cluster admins only)",
		Long: "Let a node that was invited with --role node take part in the elections. It gets another certificate and the\n" +
			"rights of a manager in the database. Votes need no command: the manager gives them to three nodes that were\n" +
			"alive for a minute, and one more stands by.",
		Args: command.Args(1, 1), ValidArgsFunction: c.CompleteNodes,
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		name := names[0]
		if !yes {
			c.Notef("%s may then manage the cluster: it reads and writes the whole database, and signs certificates.", name)
			if err := c.Confirm(cmd, "gives "+name+" the rights of a manager", "Go on?", "changed"); err != nil {
				return err
			}
		}
		n, err := command.Call(c.Base, cmd, "promote node", name, func(ctx context.Context, node *command.Node) (client.Node, error) {
			return client.Read[client.Node](node.PromoteNode(ctx, name))
		})
		if err != nil {
			return failure.NoNode(err)
		}
		return c.Print(n, func() { c.Printf("node %s may manage the cluster\n", n.Name) })
	}
	return cmd
}
