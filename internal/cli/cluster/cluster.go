// Package cluster holds the commands for the cluster as a whole.
package cluster

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/manager/api/client"
)

// Command returns `picloud cluster`.
func Command(base *command.Base) *cobra.Command {
	return command.Noun("cluster", "Show the cluster",
		&cobra.Command{
			Use:   "status",
			Short: "Show the cluster as its manager sees it: who manages it, who elects, how many nodes are alive",
			Args:  command.Args(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				state, err := command.Call(base, cmd, "show cluster", "", func(ctx context.Context, node *command.Node) (client.ClusterState, error) {
					return client.Read[client.ClusterState](node.GetCluster(ctx))
				})
				if err != nil {
					return err
				}
				return base.Print(state, func() { base.Table("NAME "+state.Name, rows(state)) })
			},
		},
	)
}

func rows(s client.ClusterState) [][]string {
	manager := s.Manager
	if s.Epoch > 0 {
		manager += fmt.Sprintf(", epoch %d", s.Epoch)
	}
	rows := [][]string{
		{"id", s.ID},
		{"nodes", fmt.Sprintf("%d, of which %d alive", s.Nodes, s.Alive)},
		{"manager", manager},
		{"database", cmp.Or(s.Database, "elsewhere")},
	}
	if len(s.Dumps) > 0 {
		last := s.Dumps[0]
		rows = append(rows, []string{"last dump", fmt.Sprintf("on %s, revision %d of %d, %s", last.Node, last.Revision, s.Revision, last.TakenAt.Local().Format(time.DateTime))})
	}
	if len(s.Voters) > 0 {
		rows = append(rows, []string{"voters", strings.Join(s.Voters, ", ")})
	}
	if len(s.Standbys) > 0 {
		rows = append(rows, []string{"standbys", strings.Join(s.Standbys, ", ")})
	}
	return rows
}
