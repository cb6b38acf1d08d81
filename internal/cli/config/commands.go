// Package config holds the commands for what functions are given: variables, secrets,
// keys of the key-value store, and rules for connections.
package config

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
)

// Commands returns the commands for what functions are given, in the order of the help.
func Commands(base *command.Base) []*cobra.Command {
	c := commands{base}
	return []*cobra.Command{c.envCommand(), c.secretCommand(), c.kvCommand(), c.egressCommand()}
}

// commands are the commands of this package, on what all commands share.
type commands struct{ *command.Base }
