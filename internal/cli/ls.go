package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the functions of an app",
		Example: "  picloud ls --app shop",
		Args:    args(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listFunctions(cmd.Context()) },
	}
}

func (c *cli) listFunctions(ctx context.Context) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	functions, more, err := node.functions(ctx, c.app)
	if err != nil {
		return noApp(node.fail(err, "list functions of", c.app), c.app)
	}
	defer c.cut(more)
	return c.print(functions, func() {
		if len(functions) == 0 {
			c.notef("App %s has no functions. Deploy one with: %s", c.app, inApp("picloud deploy FILE", c.app))
			return
		}
		rows := make([][]string, 0, len(functions))
		for _, f := range functions {
			version := "-"
			if f.Version > 0 {
				version = fmt.Sprintf("v%d", f.Version)
			}
			methods := firstOf(strings.Join(f.Settings.Methods, ","), "all")
			rows = append(rows, []string{f.Name, version, methods, c.ago(f.UpdatedAt), node.functionURL("/fn/" + f.App + "/" + f.Name)})
		}
		c.table("NAME VERSION METHODS CHANGED URL", rows)
	})
}

// noApp says how to get an app to somebody whose app was not found: on a new
// node there is none.
func noApp(err error, app string) error {
	hint := "picloud app ls lists your apps; picloud app add " + app + " makes this one"
	if app == picloud.DefaultApp {
		hint += ", as the first picloud deploy does"
	}
	return notFound(err, hint)
}

// noFunction says how to get a function to somebody whose function was not found.
func noFunction(err error, app, function string) error {
	return notFound(err, "deploy it first: "+inApp("picloud deploy "+function+".risor", app)+"; those that are there are listed by: "+inApp("picloud ls", app))
}

// noNode says where to look to somebody whose node was not found; the control
// API's own hint names a request.
func noNode(err error) error {
	var f *failure
	if errors.As(err, &f) && f.err.Code == picloud.CodeNotFound {
		f.err.Hint = "picloud node ls lists those that are there"
	}
	return err
}

// notFound adds a hint to the error of what is not there, unless it has one.
func notFound(err error, hint string) error {
	var f *failure
	if errors.As(err, &f) && f.err.Code == picloud.CodeNotFound && f.err.Hint == "" {
		f.err.Hint = hint
	}
	return err
}

// inApp completes a command that is about an app.
func inApp(command, app string) string {
	if app == picloud.DefaultApp {
		return command
	}
	return command + " --app " + app
}

// functions fetches the functions of an app.
func (n *connection) functions(ctx context.Context, app string) ([]client.Function, bool, error) {
	ctx, cancel := deadline(ctx)
	defer cancel()
	return pages(func(limit *int, cursor *string) ([]client.Function, string, error) {
		page, err := client.Read[client.FunctionList](n.ListFunctions(ctx, app, &client.ListFunctionsParams{Limit: limit, Cursor: cursor}))
		return page.Items, page.Next, err
	})
}
