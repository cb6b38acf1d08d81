package function

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the functions of an app",
		Example: "  picloud ls --app shop",
		Args:    command.Args(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listFunctions(cmd) },
	}
}

func (c commands) listFunctions(cmd *cobra.Command) error {
	functions, more, err := command.List(c.Base, cmd, "list functions of", c.App, func(ctx context.Context, node *command.Node, limit *int, cursor *string) ([]client.Function, string, error) {
		return node.Functions(ctx, c.App, limit, cursor)
	})
	if err != nil {
		return failure.NoApp(err, c.App)
	}
	defer c.Cut(more)
	return c.Print(functions, func() {
		if len(functions) == 0 {
			c.Notef("App %s has no functions. Deploy one with: %s", c.App, failure.InApp("picloud deploy FILE", c.App))
			return
		}
		rows := make([][]string, 0, len(functions))
		for _, f := range functions {
			version := "-"
			if f.Version > 0 {
				version = fmt.Sprintf("v%d", f.Version)
			}
			methods := target.FirstOf(strings.Join(f.Settings.Methods, ","), "all")
			rows = append(rows, []string{f.Name, version, methods, c.Ago(f.UpdatedAt), c.FunctionURL("/fn/" + f.App + "/" + f.Name)})
		}
		c.Table("NAME VERSION METHODS CHANGED URL", rows)
	})
}

func (c commands) rmCommand() *cobra.Command {
	return c.Removal("rm FUNCTION", "Delete a function with its versions", "function", c.CompleteFunctions,
		func(ctx context.Context, node *command.Node, name string) error {
			_, err := client.Read[client.Nothing](node.DeleteFunction(ctx, c.App, name, nil))
			return failure.NotFound(node.Fail(err, "delete function", c.App+"/"+name), failure.InApp("picloud ls", c.App)+" lists those that are there")
		})
}
