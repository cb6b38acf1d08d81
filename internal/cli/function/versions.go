package function

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) versionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "versions FUNCTION",
		Short:             "List the versions of a function, newest first",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			f, err := command.Call(c.Base, cmd, "list versions of", c.App+"/"+names[0], func(ctx context.Context, node *command.Node) (client.Function, error) {
				return client.Read[client.Function](node.GetFunction(ctx, c.App, names[0]))
			})
			if err != nil {
				return failure.NoFunction(err, c.App, names[0])
			}
			versions, more, err := command.List(c.Base, cmd, "list versions of", c.App+"/"+f.Name, func(ctx context.Context, node *command.Node, limit *int, cursor *string) ([]client.Version, string, error) {
				page, err := client.Read[client.VersionList](node.ListVersions(ctx, c.App, f.Name, &client.ListVersionsParams{Limit: limit, Cursor: cursor}))
				return page.Items, page.Next, err
			})
			if err != nil {
				return err
			}
			defer c.Cut(more)
			return c.Print(versions, func() { c.printVersions(versions, f.Version) })
		},
	}
}

func (c commands) printVersions(versions []client.Version, live int) {
	rows := make([][]string, 0, len(versions))
	for _, v := range versions {
		mark := ""
		if v.Number == live {
			mark = "live"
		}
		rows = append(rows, []string{
			fmt.Sprintf("v%d", v.Number), target.FirstOf(mark, "-"), fmt.Sprintf("%d B", v.Size),
			v.Digest.String()[:12], v.CreatedBy, c.Ago(v.CreatedAt),
		})
	}
	c.Table("VERSION STATE SIZE DIGEST BY CREATED", rows)
}

// parseVersion reads "v3" or "3".
func parseVersion(cmd *cobra.Command, text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "v"))
	if err != nil || n < 1 {
		return 0, failure.Usagef(cmd, "%q is not a version such as v3", text)
	}
	return n, nil
}
