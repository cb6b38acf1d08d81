package function

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
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
			found, err := c.scripts(cmd, files, name)
			if err != nil {
				return err
			}
			node, err := c.Connect()
			if err != nil {
				return err
			}
			results := []validation{}
			failures := slices.Concat(found.misnamed, found.unreadable)
			for _, s := range found.all {
				compiled, err := c.compile(cmd.Context(), node, "validate", s)
				if err != nil {
					failures = append(failures, err)
					if !errors.Is(err, picloud.ErrScript) {
						break // the next one would meet the same trouble
					}
					continue
				}
				results = append(results, validation{failure.StreamName(s.file), compiled.Handlers})
			}
			err = c.Print(results, func() {
				for _, r := range results {
					c.Printf("%s compiles: %s\n", r.File, strings.Join(r.Handlers, ", "))
				}
			})
			return c.Failed(failures, err)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the function (default: that of the file)")
	return cmd
}

// compile compiles a script on the node, which keeps nothing of it.
func (c commands) compile(ctx context.Context, node *command.Node, op string, s script) (client.Compiled, error) {
	compiled, err := command.Ask(ctx, node, op, c.App+"/"+s.name, func(ctx context.Context, node *command.Node) (client.Compiled, error) {
		return client.Read[client.Compiled](node.ValidateCodeWithBody(ctx, c.App, s.name, "text/plain; charset=utf-8", bytes.NewReader(s.source)))
	})
	return compiled, failure.InFile(err, s.file)
}

// validation is what `picloud validate` prints for programs.
type validation struct {
	File     string   `json:"file"`
	Handlers []string `json:"handlers"`
}
