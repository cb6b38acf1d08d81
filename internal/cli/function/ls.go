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
		Aliases: command.ListAliases,
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
	listed := make([]shown, 0, len(functions))
	for _, f := range functions {
		listed = append(listed, c.shown(f))
	}
	return c.Print(listed, func() {
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
			rows = append(rows, []string{f.Name, version, methods, c.Ago(f.UpdatedAt), c.urlOf(f)})
		}
		c.Table("NAME VERSION METHODS CHANGED URL", rows)
	})
}

// shown is a function as programs get it: with its URL.
type shown struct {
	client.Function
	URL string `json:"url"`
}

func (c commands) shown(f client.Function) shown { return shown{f, c.urlOf(f)} }

// urlOf is where a function answers.
func (c commands) urlOf(f client.Function) string {
	return c.FunctionURL("/fn/" + f.App + "/" + f.Name)
}

func (c commands) rmCommand() *cobra.Command {
	return c.Removal(command.Removal{
		Use: "rm FUNCTION…", Short: "Delete functions with their versions", What: "function", Complete: c.CompleteMoreFunctions,
		Remove: func(ctx context.Context, node *command.Node, name string) error {
			_, err := client.Read[client.Nothing](node.DeleteFunction(ctx, c.App, name, nil))
			return failure.NotFound(node.Fail(err, "delete function", c.App+"/"+name), failure.InApp("picloud ls", c.App)+" lists those that are there")
		},
	})
}
