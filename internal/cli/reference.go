package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Reference writes root and every command below it as one Markdown page.
func Reference(root *cobra.Command) []byte {
	root.InitDefaultHelpFlag()
	var out bytes.Buffer
	out.WriteString("# Commands\n\n" +
		"Generated from the commands themselves by `make generate`; do not edit.\n\n" +
		"`picloud COMMAND --help` shows the same, and also the commands of Caddy below `picloud caddy`.\n\n" +
		"**Exit codes:** 0, 1 failure, 2 wrong usage, 3 not found, 4 conflict, 130 after Ctrl-C.\n\n" +
		"**Which node, and as whom:** what is more explicit counts first: the flags `--server`, `--token-file` and `--context`; then\n" +
		"`PICLOUD_SERVER` and `PICLOUD_TOKEN`, `PICLOUD_CONTEXT`, and the credentials of the node whose data folder `PICLOUD_DATA`\n" +
		"names; then the login that `picloud login` saved; then the credentials that nodes have left on this machine (`./data`,\n" +
		"`~/.local/share/picloud`, `/var/lib/picloud`). A `./data` counts only if it belongs to you, to root, or to the user who called sudo,\n" +
		"for everybody can leave one in a folder such as `/tmp`. `picloud whoami` shows what came of it. Who has lost every token makes\n" +
		"one on the node's machine: `picloud user token admin --local`.\n\n" +
		"**For programs:** with `-o json` a result is JSON on standard output, and everything on standard error is lines of JSON: an\n" +
		"`{\"error\": …, \"code\": …, \"hint\": …, \"exit_code\": …}` when the command fails, `{\"warning\": …}` and `{\"note\": …}` before. Durations\n" +
		"are text as flags take them (`12.7ms`, `1h30m0s`); a field whose name ends in `_ms` or `_seconds` is a number. Sizes are numbers of bytes.\n\n" +
		"**Values:** durations are `90s`, `1h30m`, `7d` or `2w`, sizes `1048576`, `64MiB` or `8MB`. `list` is another\n" +
		"name of every `ls`, `delete` and `remove` are of every `rm`, `fn` is of `function`.\n\n" +
		"## Global flags\n\n")
	writeFlags(&out, root.PersistentFlags())
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() || cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Name() == "caddy" {
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
		if len(cmd.Aliases) > 0 {
			fmt.Fprintf(out, "Other names: `%s`.\n\n", strings.Join(cmd.Aliases, "`, `"))
		}
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
