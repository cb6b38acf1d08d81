package function

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) rollbackCommand() *cobra.Command {
	var to string
	wait := waitAll
	cmd := &cobra.Command{
		Use:   "rollback FUNCTION",
		Short: "Make an earlier version live again",
		Long: "Make the version live again that was live before the present one, or the one that --to names.\n" +
			"A second rollback goes to what was live before that, and never forward; the command\n" +
			"prints which version the next one would bring. --to goes forward again. A rollback is a deployment like any\n" +
			"other, and no code is built.",
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
				Existing: true, Unchanged: r.Unchanged, RollbackTo: r.RollbackTo,
				URL: c.FunctionURL(r.Path), Duration: r.Timings.Total, Milliseconds: inMilliseconds(r.Timings.Total), Acks: &r.Acks,
			}
			if !r.Unchanged {
				d.Previous = r.Deployment.Previous
			}
			return c.Print(d, func() { c.printRollback(d, to != "") })
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "version to go to, such as v3 (default: the one that was live before)")
	_ = cmd.RegisterFlagCompletionFunc("to", c.CompleteVersions)
	addWait(cmd, &wait)
	return cmd
}

// printRollback writes "hello rolled back from v3 to v2, live on 1/1 nodes in 38 ms →
// URL", and below it what the next rollback would bring.
func (c commands) printRollback(d deployment, named bool) {
	if d.Unchanged || named && d.Version > d.Previous { // --to named the live version, or went forward
		c.printDeployment(d)
	} else {
		c.Printf("%s rolled back from v%d to v%d, %s in %s%s → %s\n", d.Function, d.Previous, d.Version, d.reach(), output.Took(time.Duration(d.Duration)), d.times(), d.URL)
		c.warnOfMissing(d)
	}
	again := failure.InApp("picloud rollback "+d.Function, d.App)
	if d.RollbackTo > 0 {
		c.Printf("  %s again → v%d", again, d.RollbackTo)
	} else {
		c.Printf("  no version was live before v%d", d.Version)
	}
	if d.Previous > 0 && d.Previous != d.RollbackTo {
		c.Printf("; return to v%d: %s --to v%d", d.Previous, again, d.Previous)
	}
	c.Printf("\n")
}
