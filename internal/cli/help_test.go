package cli_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/cli"
)

// Every command says what it is for, in the same style, and fits a terminal.
func TestHelpIsTidy(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return // cobra's own
		}
		require.NotEmptyf(t, cmd.Short, "%s", cmd.CommandPath())
		require.Falsef(t, strings.HasSuffix(cmd.Short, "."), "%s: the short text is a phrase", cmd.CommandPath())
		require.Equalf(t, strings.ToUpper(cmd.Short[:1]), cmd.Short[:1], "%s", cmd.CommandPath())
		for line := range strings.SplitSeq(cmd.Short+"\n"+cmd.Long+"\n"+cmd.Example+"\n"+cmd.LocalFlags().FlagUsages(), "\n") {
			require.LessOrEqualf(t, utf8.RuneCountInString(line), 130, "%s: %q", cmd.CommandPath(), line)
		}
		if cmd.HasSubCommands() {
			require.NotNil(t, cmd.RunE)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(cli.New(cli.Options{}))
}

// TestACommandOfTheNodeRefusesArguments as every other command does: exit code 2.
func TestACommandOfTheNodeRefusesArguments(t *testing.T) {
	before := os.Args
	defer func() { os.Args = before }()
	var stderr bytes.Buffer
	root := cli.New(cli.Options{Stderr: &stderr})
	root.AddCommand(&cobra.Command{Use: "halt", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }})
	os.Args = []string{"picloud", "halt", "now"}
	require.Equal(t, 2, cli.Execute(root))
	require.Contains(t, stderr.String(), `unexpected argument "now"`)
}
