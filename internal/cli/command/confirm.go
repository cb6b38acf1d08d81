package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
)

// Confirm asks whoever sits at a terminal whether to do what the text before it said. Does says
// in short what the command would do, for those without a terminal.
func (c *Base) Confirm(cmd *cobra.Command, does, question string) error {
	if !output.Terminal(c.Stdin) {
		return failure.Usagef(cmd, "this %s; say --yes to do so without a terminal", output.Clean(does))
	}
	line, err := c.ReadLine("%s [y/N] ", output.Clean(question))
	if err != nil {
		return err
	}
	switch strings.ToLower(line) {
	case "y", "yes":
		return nil
	}
	c.Notef("picloud: nothing was changed")
	return failure.ErrReported
}
