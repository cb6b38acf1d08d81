package command

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
)

// Other names of commands that people know from elsewhere.
var (
	ListAliases    = []string{"list"}
	RemovalAliases = []string{"delete", "remove"}
)

// Removal describes a command that deletes things by name.
type Removal struct {
	Use, Short string
	Long       string
	What       string // the kind of thing, such as "function"
	Complete   cobra.CompletionFunc
	Remove     func(ctx context.Context, node *Node, name string) error
	// Contents counts what is deleted together with a name. Nil: nothing is counted.
	Contents func(ctx context.Context, node *Node, name string) (Contents, error)
}

// Contents counts what is deleted together with something.
type Contents struct {
	Text  string // for people; empty: nothing
	Value any    // for programs
}

// removed is what a removal prints for programs.
type removed struct {
	Name     string `json:"name"`
	Deleted  bool   `json:"deleted"`
	Contents any    `json:"contents,omitempty"`
}

// Removal makes a command that deletes things, after asking on a terminal.
func (c *Base) Removal(r Removal) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               r.Use,
		Aliases:           RemovalAliases,
		Short:             r.Short,
		Long:              r.Long,
		Args:              Args(1, -1),
		ValidArgsFunction: r.Complete,
		RunE: func(cmd *cobra.Command, names []string) error {
			return c.remove(cmd, r, distinct(names), yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// distinct keeps the first of each name.
func distinct(names []string) []string {
	var out []string
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// remove deletes one name after the other. It goes on after a failure.
func (c *Base) remove(cmd *cobra.Command, r Removal, names []string, yes bool) error {
	node, err := c.Connect()
	if err != nil {
		return err
	}
	contents, err := c.contents(cmd.Context(), node, r, names)
	if err != nil {
		return err
	}
	if !yes {
		what := described(r.What, names, contents)
		if err := c.Confirm(cmd, "deletes "+what+" for good", "Delete "+what+" for good?", "deleted"); err != nil {
			return err
		}
	}
	var failures []error
	results := []removed{}
	for _, name := range names {
		if err := removeOne(cmd.Context(), node, r, name); err != nil {
			failures = append(failures, err)
			if cmd.Context().Err() != nil {
				break
			}
			continue
		}
		results = append(results, removed{name, true, contents[name].Value})
		if c.ForPeople() {
			c.Printf("%s %s deleted", r.What, output.Clean(name))
			if with := contents[name].Text; with != "" {
				c.Printf(", with %s", with)
			}
			c.Printf("\n")
		}
	}
	switch {
	case c.ForPeople():
	case len(names) > 1:
		err = c.Print(results, nil)
	case len(results) == 1:
		err = c.Print(results[0], nil)
	}
	return c.Failed(failures, err)
}

// Failed returns the error of a command of which some parts failed, or otherwise when
// none did. It prints several failures itself; the first decides the exit code.
func (c *Base) Failed(failures []error, otherwise error) error {
	if len(failures) == 0 {
		return otherwise
	}
	if len(failures) == 1 {
		return failures[0]
	}
	for _, err := range failures {
		failure.PrintAs(c.Format, c.Stderr, nil, err)
	}
	return failure.Reported{Code: failure.ExitCode(failures[0])}
}

func removeOne(ctx context.Context, node *Node, r Removal, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return r.Remove(ctx, node, name)
}

// contents counts what is deleted together with each name.
func (c *Base) contents(ctx context.Context, node *Node, r Removal, names []string) (map[string]Contents, error) {
	found := map[string]Contents{}
	if r.Contents == nil {
		return found, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, name := range names {
		one, err := r.Contents(ctx, node, name)
		if err != nil {
			return nil, err
		}
		found[name] = one
	}
	return found, nil
}

// described names what is to be deleted: "functions a and b", "app shop with 2
// functions".
func described(what string, names []string, contents map[string]Contents) string {
	var all []string
	for _, name := range names {
		text := name
		if with := contents[name].Text; with != "" {
			text += " with " + with
		}
		all = append(all, text)
	}
	if len(all) > 1 {
		what += "s"
	}
	return what + " " + output.Listed(all)
}
