package cli

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) functionSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set FUNCTION",
		Short: "Change a function's limits, methods and CORS",
		Long: "Change settings of a function. What is not named stays as it is; --reset takes a setting back to its\n" +
			"default: of a limit that is the app's, else the node's, else the one named here. Every node applies the\n" +
			"change without a restart and without a new version. For variables there is picloud env --function, for\n" +
			"what it may connect to picloud egress.",
		Example: "  picloud function set hello --timeout 2s --memory 32MiB\n" +
			"  picloud function set hello --methods GET,HEAD --cors-origins https://example.org\n" +
			"  picloud function set hello --reset timeout,cors",
		Args:              args(1, 1),
		ValidArgsFunction: c.completeFunctions,
	}
	flags := addSettings(cmd, functionSettings(), "limits", "env", "egress", "cors")
	ifMatch := ifRevision(cmd, "function")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		settings, err := flags.patch(cmd)
		if err != nil {
			return err
		}
		patch, err := inSettings(settings)
		if err != nil {
			return err
		}
		node, err := c.connect()
		if err != nil {
			return err
		}
		ctx, cancel := deadline(cmd.Context())
		defer cancel()
		f, err := client.Read[client.Function](node.UpdateFunction(ctx, c.app, names[0], &client.UpdateFunctionParams{IfMatch: ifMatch()}, patch))
		if err != nil {
			return noFunction(node.fail(err, "change function", c.app+"/"+names[0]), c.app, names[0])
		}
		return c.showFunction(ctx, node, f)
	}
	return cmd
}
