package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
)

// Confirm asks whoever sits at a terminal whether to do what the question, or the text before
// it, says. Without a terminal it does not ask and fails, so that a script never hangs: does says
// in short what the command would do. After a no, nothing was what undone says: "changed".
func (c *Base) Confirm(cmd *cobra.Command, does, question, undone string) error {
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
	c.Notef("picloud: nothing was %s", undone)
	return failure.ErrReported
}
