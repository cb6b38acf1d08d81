// Package people holds the commands for apps, their members, and users.
package people

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
)

// Commands returns the commands for apps and people, in the order of the help.
func Commands(base *command.Base) []*cobra.Command {
	c := commands{base}
	return []*cobra.Command{c.appCommand(), c.memberCommand(), c.userCommand()}
}

// commands are the commands of this package, on what all commands share.
type commands struct{ *command.Base }
