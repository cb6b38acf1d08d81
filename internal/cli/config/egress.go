package config

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) egressCommand() *cobra.Command {
	ls := &cobra.Command{
		Use:     "ls FUNCTION",
		Aliases: command.ListAliases,
		Short:   "List what a function may connect to",
		Args:    command.Args(1, 1),
		RunE: func(cmd *cobra.Command, names []string) error {
			f, err := command.Call(c.Base, cmd, "list egress rules of", c.App+"/"+names[0], func(ctx context.Context, node *command.Node) (client.Function, error) {
				return client.Read[client.Function](node.GetFunction(ctx, c.App, names[0]))
			})
			if err != nil {
				return failure.NoFunction(err, c.App, names[0])
			}
			return c.printEgress(f)
		},
	}
	allow := &cobra.Command{
		Use:   "allow FUNCTION RULE…",
		Short: "Let a function connect to hosts or addresses",
		Long: "Let a function connect to more. A rule is a host (api.example.org), all hosts below one (*.example.org),\n" +
			"every host (*), an address or a range (192.168.1.0/24), each with :PORT if only that is meant. Private\n" +
			"addresses, such as those of a home network, need an address or a range: no name but localhost (127.0.0.1 and ::1) reaches them.",
		Example: "  picloud egress allow hello api.example.org\n" +
			"  picloud egress allow hello '*.example.org:443' 192.168.1.20:8123",
		RunE: func(cmd *cobra.Command, given []string) error { return c.changeEgress(cmd, given, allowRules) },
	}
	deny := &cobra.Command{
		Use:     "deny FUNCTION RULE…",
		Short:   "Remove rules; a connection that no rule allows is denied",
		Example: "  picloud egress deny hello api.example.org",
		RunE:    func(cmd *cobra.Command, given []string) error { return c.changeEgress(cmd, given, denyRules) },
	}
	for _, cmd := range []*cobra.Command{allow, deny} {
		cmd.Args = command.Args(2, -1)
	}
	for _, cmd := range []*cobra.Command{ls, allow, deny} {
		cmd.ValidArgsFunction = c.CompleteFunctions
	}
	deny.ValidArgsFunction = c.completeRules
	return command.Noun("egress", "Where functions may connect to: nowhere, unless a rule allows it", ls, allow, deny)
}

// completeRules offers functions, and then the rules of the one that was given.
func (c commands) completeRules(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(given) == 0 {
		return c.CompleteFunctions(cmd, given, typed)
	}
	return c.Complete(cmd, func(ctx context.Context, node *command.Node) []string {
		f, _ := client.Read[client.Function](node.GetFunction(ctx, c.App, given[0]))
		return f.Settings.Egress
	})
}

// changeEgress edits the list of rules of a function.
func (c commands) changeEgress(cmd *cobra.Command, given []string, edit func(rules, change []string) ([]string, error)) error {
	name := given[0]
	rules, err := readRules(cmd.CommandPath()+" "+name, given[1:])
	if err != nil {
		return err
	}
	f, err := command.Call(c.Base, cmd, "change egress rules of", c.App+"/"+name, func(ctx context.Context, node *command.Node) (client.Function, error) {
		return changeFunction(ctx, node, c.App, name, func(f client.Function) (any, error) {
			changed, err := edit(f.Settings.Egress, rules)
			if len(changed) == 0 {
				changed = nil // null takes the last one away
			}
			return map[string]any{"egress": changed}, err
		})
	})
	if err != nil {
		return failure.NoFunction(err, c.App, name)
	}
	return c.printEgress(f)
}

// readRules parses rules and returns each in its canonical form. When one is a URL, the
// error's hint is the command with the URL's host.
func readRules(command string, given []string) ([]string, error) {
	rules := make([]string, 0, len(given))
	for _, text := range given {
		rule, err := picloud.ParseEgress(text)
		var e *picloud.Error
		if u, parseErr := url.Parse(text); errors.As(err, &e) && parseErr == nil && u.Host != "" {
			e.Hint = "write the host alone: " + command + " " + u.Host
		}
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule.String())
	}
	return rules, nil
}

func allowRules(rules, more []string) ([]string, error) {
	for _, rule := range more {
		if !slices.ContainsFunc(rules, isRule(rule)) {
			rules = append(rules, rule)
		}
	}
	return rules, nil
}

// denyRules removes rules. When one of them does not exist, it removes none.
func denyRules(rules, less []string) ([]string, error) {
	left := slices.Clone(rules)
	var unknown []string
	for _, rule := range less {
		if !slices.ContainsFunc(rules, isRule(rule)) {
			unknown = append(unknown, rule)
		}
		left = slices.DeleteFunc(left, isRule(rule))
	}
	if len(unknown) == 0 {
		return left, nil
	}
	e := &picloud.Error{Code: picloud.CodeNotFound, Detail: "there is no rule " + strings.Join(unknown, ", ") + "; nothing was changed", Hint: "there are no rules"}
	if len(rules) > 0 {
		e.Hint = "the rules are: " + strings.Join(rules, ", ")
	}
	return nil, e
}

// isRule returns a test for the texts that stand for a rule, in canonical form or not.
func isRule(rule string) func(text string) bool {
	return func(text string) bool {
		r, err := picloud.ParseEgress(text)
		return text == rule || err == nil && r.String() == rule
	}
}

// printEgress prints the rules of a function.
func (c commands) printEgress(f client.Function) error {
	rules := f.Settings.Egress
	if rules == nil {
		rules = []string{} // [] in JSON, not null
	}
	return c.Print(rules, func() {
		if len(rules) == 0 {
			c.Notef("%s/%s may connect nowhere. Allow something with: %s", f.App, f.Name, failure.InApp("picloud egress allow "+f.Name+" HOST", f.App))
			return
		}
		for _, rule := range rules {
			c.Printf("%s\n", output.Clean(rule))
		}
	})
}
