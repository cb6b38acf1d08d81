// Package function holds the commands for functions: deploy, invoke, logs, and so on.
package function

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
)

// Commands returns the commands for functions, in the order of the help.
func Commands(base *command.Base) []*cobra.Command {
	c := commands{base}
	return []*cobra.Command{
		c.deployCommand(), c.invokeCommand(), c.logsCommand(), c.tailCommand(), c.topCommand(), c.lsCommand(), c.rmCommand(),
		c.versionsCommand(), c.rollbackCommand(), c.validateCommand(), c.testCommand(), c.functionCommand(),
	}
}

// commands are the commands of this package, on what all commands share.
type commands struct{ *command.Base }
