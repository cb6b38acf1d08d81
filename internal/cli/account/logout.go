package account

import (
	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/cli/target"
)

func (c commands) logoutCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "logout [CONTEXT]",
		Short: "Forget a saved login: the current one, or the one named",
		Long: "Remove a login from the file of picloud login: the current context, or the one named. The token goes on\n" +
			"at the node; picloud user token ends it. Afterwards no context is in use until picloud context use or\n" +
			"picloud login chooses one.",
		Example:           "  picloud logout\n  picloud logout pi-1.local\n  picloud logout --all",
		Args:              command.Args(0, 1),
		ValidArgsFunction: c.CompleteContexts,
		RunE: func(cmd *cobra.Command, names []string) error {
			logins, err := c.logins()
			if err != nil {
				return err
			}
			name := target.FirstOf(append(names, c.Target.Context, logins.Current)...)
			switch {
			case all && (len(names) > 0 || c.Target.Context != ""):
				return failure.Usagef(cmd, "--all takes no name")
			case all:
				return c.forget(logins.Names())
			case name == "":
				c.Notef("no login is in use; nothing was removed")
				return c.forget(nil)
			case logins.Find(name) == nil:
				return target.NoContext(logins, name, "")
			}
			return c.forget([]string{name})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "forget every login")
	return cmd
}

// forgotten is what `picloud logout` prints for programs.
type forgotten struct {
	Removed []string `json:"removed"`
	// Next is what the commands use from now on; empty: they find no token.
	Next string `json:"next,omitempty"`
}

// forget removes contexts, and says what commands use afterwards.
func (c commands) forget(names []string) error {
	users := map[string]string{}
	result := forgotten{Removed: []string{}}
	if len(names) > 0 {
		err := c.Target.ChangeLogins(func(logins *target.Logins) error {
			for _, name := range names {
				if one := logins.Find(name); one != nil { // else it was named twice, or is gone meanwhile
					users[name] = one.User + " at " + one.Server
					result.Removed = append(result.Removed, name)
					logins.Remove(name)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	next := c.Target
	next.Context, next.Server, next.TokenFile, next.Warnf = "", "", "", func(string, ...any) {}
	if t, err := next.Find(); err == nil {
		result.Next = t.TokenFrom
	}
	return c.Print(result, func() {
		for _, name := range result.Removed {
			c.Printf("signed out: context %s, which was %s\n", output.Clean(name), output.Clean(users[name]))
		}
		if result.Next != "" {
			c.Printf("commands now use the token from %s\n", output.Clean(result.Next))
		}
	})
}
