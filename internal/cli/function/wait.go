package function

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

// waitFor is the value of --wait.
type waitFor client.Wait

const waitAll = waitFor(client.WaitAll)

// addWait adds --wait to a command that changes what nodes serve.
func addWait(cmd *cobra.Command, wait *waitFor) {
	cmd.Flags().Var(wait, "wait", "nodes to wait for: all, quorum or none")
	_ = cmd.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions([]string{"all", "quorum", "none"}, cobra.ShellCompDirectiveNoFileComp))
}

// String implements pflag.Value.
func (w *waitFor) String() string { return string(*w) }

// Set implements pflag.Value.
func (w *waitFor) Set(s string) error {
	switch client.Wait(s) {
	case client.WaitAll, client.WaitQuorum, client.WaitNone:
		*w = waitFor(s)
		return nil
	default:
		return fmt.Errorf("%q is not all, quorum or none", s)
	}
}

// Type implements pflag.Value.
func (w *waitFor) Type() string { return "nodes" }
