// Package account holds the commands that say which node the others speak to, and
// as whom: login, logout, whoami and context.
package account

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
)

// Commands returns the commands of this package, in the order of the help.
func Commands(base *command.Base) []*cobra.Command {
	c := commands{base}
	return []*cobra.Command{c.loginCommand(), c.logoutCommand(), c.whoamiCommand(), c.contextCommand()}
}

// commands are the commands of this package, on what all commands share.
type commands struct{ *command.Base }
