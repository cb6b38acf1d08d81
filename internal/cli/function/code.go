package function

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) functionCodeCommand() *cobra.Command {
	var version string
	cmd := &cobra.Command{
		Use:               "code FUNCTION",
		Short:             "Print the source of a version",
		Example:           "  picloud function code hello --version v1 > hello.risor",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			number := 0
			if version != "" {
				var err error
				if number, err = parseVersion(cmd, version); err != nil {
					return err
				}
			}
			resource := c.App + "/" + names[0]
			if number == 0 {
				f, err := command.Call(c.Base, cmd, "read code of", resource, func(ctx context.Context, node *command.Node) (client.Function, error) {
					return client.Read[client.Function](node.GetFunction(ctx, c.App, names[0]))
				})
				if err != nil {
					return failure.NoFunction(err, c.App, names[0])
				}
				if number = f.Version; number == 0 {
					return &picloud.Error{
						Code: picloud.CodeNotFound, Op: "read code of", Resource: resource,
						Detail: "no version is live", Hint: "picloud versions " + names[0] + " lists those that were",
					}
				}
			}
			source, err := command.Call(c.Base, cmd, "read code of", fmt.Sprintf("%s v%d", resource, number), func(ctx context.Context, node *command.Node) (string, error) {
				return client.Read[string](node.GetVersionCode(ctx, c.App, names[0], number))
			})
			if err != nil {
				return failure.NoVersion(err, c.App, names[0])
			}
			return c.Print(sourceCode{number, source}, func() { c.Printf("%s", source) })
		},
	}
	cmd.Flags().StringVar(&version, "version", "", "version, such as v3 (default: the live one)")
	_ = cmd.RegisterFlagCompletionFunc("version", c.CompleteVersions)
	return cmd
}

// sourceCode is what `picloud function code` prints for programs.
type sourceCode struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
}
