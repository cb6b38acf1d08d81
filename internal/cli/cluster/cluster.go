// Package cluster holds the commands for the cluster as a whole.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/manager/api/client"
)

// commands are the commands of this package, on what all commands share.
type commands struct{ *command.Base }

// Command returns `picloud cluster`.
func Command(base *command.Base) *cobra.Command {
	c := commands{base}
	return command.Noun("cluster", "Show the cluster, and bring its manager back",
		&cobra.Command{
			Use:   "status",
			Short: "Show the cluster: who manages it, who elects, how many nodes are alive",
			Long: "Show the cluster as its manager sees it. While there is none, the node that is asked tells what it knows\n" +
				"itself, what is missing and what to do. Without the database it does so on its own machine only.",
			Args: command.Args(0, 0),
			RunE: c.status,
		},
		c.recoverCommand(),
		c.adoptCommand(),
		c.promoteCommand(),
	)
}

func (c commands) status(cmd *cobra.Command, _ []string) error {
	state, err := command.Call(c.Base, cmd, "show cluster", "", func(ctx context.Context, node *command.Node) (client.ClusterState, error) {
		return client.Read[client.ClusterState](node.GetCluster(ctx))
	})
	if errors.Is(err, picloud.ErrUnavailable) {
		if seen, ok := c.SeenHere(cmd.Context()); ok {
			state, err = seen.State, nil
		}
	}
	if err != nil {
		return err
	}
	return c.Print(state, func() {
		c.Table("NAME "+state.Name, rows(state))
		c.NoteSeen(state.SeenBy, state.Manager != "", state.Trouble, state.Hint)
	})
}

func rows(s client.ClusterState) [][]string {
	manager := cmp.Or(s.Manager, "none")
	if s.Epoch > 0 {
		manager += fmt.Sprintf(", epoch %d", s.Epoch)
	}
	rows := [][]string{
		{"id", cmp.Or(s.ID, "-")},
		{"nodes", fmt.Sprintf("%d, of which %d alive", s.Nodes, s.Alive)},
		{"manager", manager},
		{"database", cmp.Or(s.Database, "elsewhere")},
	}
	for _, last := range s.Dumps {
		if last.Node == s.Database { // what lies on that board goes with it
			continue
		}
		rows = append(rows, []string{"last dump", fmt.Sprintf("on %s, revision %d of %d, %s", last.Node, last.Revision, s.Revision, last.TakenAt.Local().Format(time.DateTime))})
		break
	}
	if len(s.Voters) > 0 {
		rows = append(rows, []string{"voters", strings.Join(s.Voters, ", ")})
	}
	if len(s.Standbys) > 0 {
		rows = append(rows, []string{"standbys", strings.Join(s.Standbys, ", ")})
	}
	return rows
}
