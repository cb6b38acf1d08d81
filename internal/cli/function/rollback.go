package function

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) rollbackCommand() *cobra.Command {
	var to string
	wait := waitAll
	cmd := &cobra.Command{
		Use:   "rollback FUNCTION",
		Short: "Make an earlier version live again",
		Long: "Make the version live again that was live before the present one, or the one that --to names.\n" +
			"A rollback is a deployment like any other: no code is built, and it can be rolled back.",
		Example:           "  picloud rollback hello\n  picloud rollback hello --to v3",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			var body client.NewRollback
			if to != "" {
				var err error
				if body.To, err = parseVersion(cmd, to); err != nil {
					return err
				}
			}
			r, err := command.Call(c.Base, cmd, "roll back", c.App+"/"+names[0], func(ctx context.Context, node *command.Node) (client.Rollout, error) {
				defer c.Progress("rolling back %s", names[0])()
				nodes := client.Wait(wait)
				return client.Read[client.Rollout](node.Rollback(ctx, c.App, names[0], &client.RollbackParams{Wait: &nodes}, body))
			})
			if err != nil {
				return failure.NoFunction(err, c.App, names[0])
			}
			d := deployment{
				App: r.Deployment.App, Function: r.Deployment.Function, Version: r.Deployment.Version,
				URL: c.FunctionURL(r.Path), Duration: r.Timings.Total, Acks: &r.Acks,
			}
			return c.Print(d, func() { c.printDeployment(d, false) })
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "version to go back to, such as v3 (default: the one that was live before)")
	addWait(cmd, &wait)
	return cmd
}
