package cli

import (
	"bufio"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) rmCommand() *cobra.Command {
	return c.removal("rm FUNCTION", "Delete a function with its versions", "function", c.completeFunctions,
		func(ctx context.Context, node *connection, name string) error {
			_, err := client.Read[client.Nothing](node.DeleteFunction(ctx, c.app, name, nil))
			return notFound(node.fail(err, "delete function", c.app+"/"+name), inApp("picloud ls", c.app)+" lists those that are there")
		})
}

// removal makes a command that deletes one thing, after asking on a terminal.
func (c *cli) removal(use, short, what string, complete cobra.CompletionFunc, remove func(context.Context, *connection, string) error) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               use,
		Short:             short,
		Args:              args(1, 1),
		ValidArgsFunction: complete,
		RunE: func(cmd *cobra.Command, names []string) error {
			node, err := c.connect()
			if err != nil {
				return err
			}
			if !yes {
				if err := c.confirm(cmd, what+" "+names[0]); err != nil {
					return err
				}
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			if err := remove(ctx, node, names[0]); err != nil {
				return err
			}
			return c.print(removed{names[0], true}, func() { c.printf("%s %s deleted\n", what, names[0]) })
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
func (c *cli) confirm(cmd *cobra.Command, what string) error {
	if !terminal(c.Stdin) {
		return usagef(cmd, "this deletes %s for good; say --yes to do so without a terminal", clean(what))
	}
	c.question("Delete %s for good? [y/N] ", clean(what))
	line, err := bufio.NewReader(io.LimitReader(c.Stdin, 100)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	default:
		c.notef("picloud: nothing was deleted")
		return errReported
	}
}
