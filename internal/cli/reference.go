package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

//go:generate go test -run=^TestReferenceIsFresh$ -count=1 . -update

// Reference writes root and every command below it as one Markdown page.
func Reference(root *cobra.Command) []byte {
	root.InitDefaultHelpFlag()
	var out bytes.Buffer
	out.WriteString("# Commands\n\n" +
		"Generated from the commands themselves by `make generate`; do not edit.\n\n" +
		"`picloud COMMAND --help` shows the same. Commands that run or examine a node (`run`, `config`, `doctor`, `caddy`)\n" +
		"describe themselves there.\n\n" +
		"Exit codes: 0, 1 failure, 2 wrong usage, 3 not found, 4 conflict.\n\n" +
		"## Global flags\n\n")
	writeFlags(&out, root.PersistentFlags())
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		writeCommand(&out, cmd)
	}
	out.WriteString("## picloud completion\n\n" +
		"Print a script that teaches bash, zsh, fish or PowerShell to complete commands, functions and apps:\n" +
		"`picloud completion bash --help` says how to load it.\n")
	return out.Bytes()
}

func writeCommand(out *bytes.Buffer, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		fmt.Fprintf(out, "## %s\n\n", cmd.CommandPath())
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		fmt.Fprintf(out, "%s\n\n```\n%s\n```\n\n", text, cmd.UseLine())
		flags := cmd.LocalNonPersistentFlags()
		flags.SortFlags = cmd.Flags().SortFlags
		writeFlags(out, flags)
		if cmd.Example != "" {
			fmt.Fprintf(out, "Examples:\n\n```\n%s\n```\n\n", unindent(cmd.Example))
		}
		return
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			writeCommand(out, sub)
		}
	}
}

func writeFlags(out *bytes.Buffer, flags *pflag.FlagSet) {
	var rows []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		usage := strings.ReplaceAll(f.Usage, "|", `\|`)
		if value := f.DefValue; value != "" && value != "[]" && value != "false" && value != "0" && !strings.Contains(usage, "default") {
			usage += " (default `" + value + "`)"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s |\n", name, usage))
	})
	if len(rows) == 0 {
		return
	}
	out.WriteString("| Flag | Meaning |\n|---|---|\n" + strings.Join(rows, "") + "\n")
}

func unindent(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}
