package function

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/setting"
	"github.com/picloud/picloud/manager/api/client"
)

// shownWith lists the rows that show a flag beside the row of its name: what is in force
// of CORS depends on all of its parts, and on the methods.
var shownWith = map[string][]string{
	"methods": {"cors-methods"}, "route": {"routes", "cors-methods"},
	"cors-origins": corsFlags, "cors-methods": corsFlags, "cors-headers": corsFlags, "cors-expose": corsFlags,
	"cors-credentials": corsFlags, "cors-max-age": corsFlags, "cors": corsFlags,
}

var corsFlags = []string{"cors", "cors-methods", "cors-headers", "cors-expose", "cors-max-age"}

func (c commands) functionSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set FUNCTION",
		Short: "Change a function's limits, methods, routes and CORS",
		Long: "Change settings of a function. Settings that are not named do not change; --reset takes a setting back to its\n" +
			"default: of a limit that is the app's, else the node's, else the one named here. Every node applies the\n" +
			"change without a restart and without a new version. A list, such as that of the routes, is replaced as a\n" +
			"whole. For variables there is picloud env --function, for\n" +
			"what it may connect to picloud egress.",
		Example: "  picloud function set hello --timeout 2s --memory 32MiB\n" +
			"  picloud function set hello --methods GET,HEAD --cors-origins https://example.org\n" +
			"  picloud function set shop --route 'GET /items/{id}' --route 'POST /items'\n" +
			"  picloud function set hello --reset timeout,cors",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteFunctions,
	}
	flags := setting.AddFlags(cmd, setting.OfFunction(), "limits", "env", "egress", "routes", "cors")
	ifMatch := setting.IfRevision(cmd, "function")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		settings, err := flags.Patch(cmd)
		if err != nil {
			return err
		}
		patch, err := setting.InSettings(settings)
		if err != nil {
			return err
		}
		f, err := command.Call(c.Base, cmd, "change function", c.App+"/"+names[0], func(ctx context.Context, node *command.Node) (client.Function, error) {
			return client.Read[client.Function](node.UpdateFunction(ctx, c.App, names[0], &client.UpdateFunctionParams{IfMatch: ifMatch()}, patch))
		})
		if err != nil {
			return failure.NoFunction(err, c.App, names[0])
		}
		return c.Print(c.shown(f), func() {
			rows := c.functionRows(f, setting.DefaultsOf(c.Base, cmd, f.App))
			c.Table("NAME "+f.App+"/"+f.Name, flags.Changed(cmd, rows, shownWith))
		})
	}
	return cmd
}
