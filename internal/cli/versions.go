package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) versionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "versions FUNCTION",
		Short:             "List the versions of a function, newest first",
		Args:              args(1, 1),
		ValidArgsFunction: c.completeFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			f, err := client.Read[client.Function](node.GetFunction(ctx, c.app, names[0]))
			if err != nil {
				return noFunction(node.fail(err, "list versions of", c.app+"/"+names[0]), c.app, names[0])
			}
			versions, more, err := pages(func(limit *int, cursor *string) ([]client.Version, string, error) {
				page, err := client.Read[client.VersionList](node.ListVersions(ctx, c.app, f.Name, &client.ListVersionsParams{Limit: limit, Cursor: cursor}))
				return page.Items, page.Next, err
			})
			if err != nil {
				return node.fail(err, "list versions of", c.app+"/"+f.Name)
			}
			defer c.cut(more)
			return c.print(versions, func() { c.printVersions(versions, f.Version) })
		},
	}
}

func (c *cli) printVersions(versions []client.Version, live int) {
	rows := make([][]string, 0, len(versions))
	for _, v := range versions {
		mark := ""
		if v.Number == live {
			mark = "live"
		}
		rows = append(rows, []string{
			fmt.Sprintf("v%d", v.Number), firstOf(mark, "-"), fmt.Sprintf("%d B", v.Size),
			v.Digest.String()[:12], v.CreatedBy, c.ago(v.CreatedAt),
		})
	}
	c.table("VERSION STATE SIZE DIGEST BY CREATED", rows)
}

// parseVersion reads "v3" or "3".
func parseVersion(cmd *cobra.Command, text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(text, "v"))
	if err != nil || n < 1 {
		return 0, usagef(cmd, "%q is not a version such as v3", text)
	}
	return n, nil
}
