package cli

import (
	"bytes"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) validateCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "validate FILE…",
		Short:   "Compile scripts and keep nothing",
		Long:    "Compile scripts on the node, as a deploy would, and keep nothing. Exit code 1 when one does not compile.",
		Example: "  picloud validate hello.risor",
		Args:    args(1, -1),
		RunE: func(cmd *cobra.Command, files []string) error {
			scripts, err := c.scripts(cmd, files, name)
			if err != nil {
				return err
			}
			node, err := c.connect()
			if err != nil {
				return err
			}
			results := []validation{}
			for _, s := range scripts {
				ctx, cancel := deadline(cmd.Context())
				compiled, err := client.Read[client.Compiled](node.ValidateCodeWithBody(ctx, c.app, s.name, "text/plain; charset=utf-8", bytes.NewReader(s.source)))
				cancel()
				if err != nil {
					return inFile(node.fail(err, "validate", c.app+"/"+s.name), s.file)
				}
				results = append(results, validation{streamName(s.file), compiled.Handlers})
			}
			return c.print(results, func() {
				for _, r := range results {
					c.printf("%s compiles: %s\n", r.File, strings.Join(r.Handlers, ", "))
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
