package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageError says that the command line is wrong: exit code 2.
type usageError struct {
	cmd     *cobra.Command
	message string
}

func (e *usageError) Error() string { return e.message }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Sprintf(format, args...)}
}

// args checks the number of arguments: at least low and at most high, any
// number when high is negative.
func args(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) < low:
			return usagef(cmd, "%s is missing", argumentNames(cmd)[len(given)])
		case high >= 0 && len(given) > high:
			return usagef(cmd, "unexpected argument %q", given[high])
		}
		return nil
	}
}

// argumentNames reads the names of the arguments from the usage line.
func argumentNames(cmd *cobra.Command) []string {
	var names []string
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if word == strings.ToUpper(word) {
			names = append(names, strings.Trim(word, "….[]"))
		}
	}
	return append(names, "an argument")
}

// noSuchCommand refuses arguments of a command that only has subcommands.
func noSuchCommand(cmd *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(given[0]); len(near) > 0 {
		return usagef(cmd, "there is no command %q; did you mean %s?", given[0], strings.Join(near, " or "))
	}
	return usagef(cmd, "there is no command %q", given[0])
}

// noun makes a command that groups others, such as `picloud app`.
func noun(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " COMMAND",
		Short: short,
		Args:  noSuchCommand,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var names []string
			for _, sub := range cmd.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			return usagef(cmd, "what about it? %s", strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// usageText is the error of a value that is not what it should be.
func usageText(value, want string) error {
	return fmt.Errorf("%q is not %s", value, want)
}
