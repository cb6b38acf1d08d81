package command

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/failure"
)

// Args checks the number of arguments: at least low and at most high, any
// number when high is negative.
func Args(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		switch {
		case len(given) < low:
			return failure.Usagef(cmd, "%s is missing", argumentNames(cmd)[len(given)])
		case high >= 0 && len(given) > high:
			return failure.Usagef(cmd, "unexpected argument %q", given[high])
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

// NoSuchCommand refuses arguments of a command that only has subcommands.
func NoSuchCommand(cmd *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(given[0]); len(near) > 0 {
		return failure.Usagef(cmd, "there is no command %q; did you mean %s?", given[0], strings.Join(near, " or "))
	}
	return failure.Usagef(cmd, "there is no command %q", given[0])
}

// Noun makes a command that groups others, such as `picloud app`.
func Noun(name, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " COMMAND",
		Short: short,
		Args:  NoSuchCommand,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var names []string
			for _, sub := range cmd.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			return failure.Usagef(cmd, "a command is missing; there are %s", strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}
