package function

import (
	"bytes"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) validateCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "validate FILE…",
		Short:   "Compile scripts and keep nothing",
		Long:    "Compile scripts on the node, as a deploy would, and keep nothing. Exit code 1 when one does not compile.",
		Example: "  picloud validate hello.risor",
		Args:    command.Args(1, -1),
		RunE: func(cmd *cobra.Command, files []string) error {
			scripts, err := c.scripts(cmd, files, name)
			if err != nil {
				return err
			}
			results := []validation{}
			for _, s := range scripts {
				compiled, err := command.Call(c.Base, cmd, "validate", c.App+"/"+s.name, func(ctx context.Context, node *command.Node) (client.Compiled, error) {
					return client.Read[client.Compiled](node.ValidateCodeWithBody(ctx, c.App, s.name, "text/plain; charset=utf-8", bytes.NewReader(s.source)))
				})
				if err != nil {
					return failure.InFile(err, s.file)
				}
				results = append(results, validation{failure.StreamName(s.file), compiled.Handlers})
			}
			return c.Print(results, func() {
				for _, r := range results {
					c.Printf("%s compiles: %s\n", r.File, strings.Join(r.Handlers, ", "))
				}
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the function (default: that of the file)")
	return cmd
}

// validation is what `picloud validate` prints for programs.
type validation struct {
	File     string   `json:"file"`
	Handlers []string `json:"handlers"`
}
