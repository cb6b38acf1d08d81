package account

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/cli/target"
)

func (c commands) contextCommand() *cobra.Command {
	use := &cobra.Command{
		Use:               "use CONTEXT",
		Short:             "Choose the login that commands use",
		Example:           "  picloud context use pi-1.local",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteContexts,
		RunE: func(_ *cobra.Command, names []string) error {
			var chosen target.Context
			err := c.Target.ChangeLogins(func(logins *target.Logins) error {
				found := logins.Find(names[0])
				if found == nil {
					return target.NoContext(*logins, names[0], "")
				}
				logins.Current, chosen = found.Name, *found
				return nil
			})
			if err != nil {
				return err
			}
			err = c.Print(listed{chosen.Name, true, chosen.Server, chosen.User}, func() {
				c.Printf("context %s: %s as %s\n", output.Clean(chosen.Name), output.Clean(chosen.Server), output.Clean(chosen.User))
			})
			c.warnIfPassedOver(chosen.Name)
			return err
		},
	}
	rm := &cobra.Command{
		Use:               "rm CONTEXT…",
		Aliases:           command.RemovalAliases,
		Short:             "Forget saved logins",
		Args:              command.Args(1, -1),
		ValidArgsFunction: c.CompleteContexts,
		RunE: func(_ *cobra.Command, names []string) error {
			logins, err := c.logins()
			if err != nil {
				return err
			}
			for _, name := range names {
				if logins.Find(name) == nil {
					return target.NoContext(logins, name, "")
				}
			}
			return c.forget(names)
		},
	}
	ls := &cobra.Command{
		Use:     "ls",
		Aliases: command.ListAliases,
		Short:   "List the saved logins",
		Args:    command.Args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			logins, err := c.logins()
			if err != nil {
				return err
			}
			return c.printContexts(logins)
		},
	}
	return command.Noun("context", "Choose among the logins that picloud login has saved", ls, use, rm)
}

func (c commands) logins() (target.Logins, error) {
	logins, _, err := c.Target.Logins()
	if err != nil {
		return logins, fmt.Errorf("read %s: %w", c.Target.ConfigPath(), err)
	}
	return logins, nil
}

// listed is a context as programs get it: without the token.
type listed struct {
	Name    string `json:"name"`
	Current bool   `json:"current"`
	Server  string `json:"server"`
	User    string `json:"user"`
}

func (c commands) printContexts(logins target.Logins) error {
	all := []listed{}
	for _, one := range logins.Contexts {
		all = append(all, listed{one.Name, one.Name == logins.Current, one.Server, one.User})
	}
	return c.Print(all, func() {
		if len(all) == 0 {
			c.Notef("No login is saved. Save one with: picloud login")
			return
		}
		rows := make([][]string, 0, len(all))
		for _, one := range all {
			mark := ""
			if one.Current {
				mark = "current"
			}
			rows = append(rows, []string{one.Name, target.FirstOf(mark, "-"), one.Server, one.User})
		}
		c.Table("NAME STATE SERVER USER", rows)
	})
}
