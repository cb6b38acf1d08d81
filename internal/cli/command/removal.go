package command

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
)

// Removal makes a command that deletes one thing, after asking on a terminal.
func (c *Base) Removal(use, short, what string, complete cobra.CompletionFunc, remove func(context.Context, *Node, string) error) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              Args(1, 1),
		ValidArgsFunction: complete,
		RunE: func(cmd *cobra.Command, names []string) error {
			node, err := c.Connect()
			if err != nil {
				return err
			}
			if !yes {
				if err := c.confirm(cmd, what+" "+names[0]); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), callTimeout)
			defer cancel()
			if err := remove(ctx, node, names[0]); err != nil {
				return err
			}
			return c.Print(removed{names[0], true}, func() { c.Printf("%s %s deleted\n", what, names[0]) })
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// removed is what a removal prints for programs.
type removed struct {
	Name    string `json:"name"`
	Deleted bool   `json:"deleted"`
}

// confirm asks whether what may go. Nobody is asked without a terminal, so
// that a script never hangs.
func (c *Base) confirm(cmd *cobra.Command, what string) error {
	if !output.Terminal(c.Stdin) {
		return failure.Usagef(cmd, "this deletes %s for good; say --yes to do so without a terminal", output.Clean(what))
	}
	c.Question("Delete %s for good? [y/N] ", output.Clean(what))
	line, err := bufio.NewReader(io.LimitReader(c.Stdin, 100)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	default:
		c.Notef("picloud: nothing was deleted")
		return failure.ErrReported
	}
}
