package config

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) envCommand() *cobra.Command {
	var function string
	ls := &cobra.Command{
		Use:     "ls",
		Aliases: command.ListAliases,
		Short:   "List the variables of the app, or of a function",
		Args:    command.Args(0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.listEnv(cmd, function) },
	}
	get := &cobra.Command{
		Use:     "get NAME",
		Short:   "Print the value of a variable",
		Example: "  picloud env get LOG_LEVEL\n  picloud env get LOG_LEVEL --function hello",
		Args:    command.Args(1, 1),
		RunE:    func(cmd *cobra.Command, names []string) error { return c.getEnv(cmd, function, names[0]) },
	}
	set := &cobra.Command{
		Use:   "set NAME=VALUE…",
		Short: "Set variables of the app, or of a function",
		Long: "Set variables, which scripts read with env.get(\"NAME\"). Other variables do not change. Those of a\n" +
			"function come before those of the app. Every node applies them without a restart and without a new\n" +
			"version. Do not put passwords or keys into them, since every viewer of the app reads them; use\n" +
			"picloud secret for those.",
		Example: "  picloud env set LOG_LEVEL=debug GREETING='Good morning'\n" +
			"  picloud env set LOG_LEVEL=debug --function hello",
		Args: command.Args(1, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			changes, err := assignments(cmd, given)
			if err != nil {
				return err
			}
			c.warnOfSecrets(changes)
			return c.changeEnv(cmd, function, changes)
		},
	}
	unset := &cobra.Command{
		Use:     "unset NAME…",
		Aliases: append([]string{"rm"}, command.RemovalAliases...),
		Short:   "Remove variables from the app, or from a function",
		Args:    command.Args(1, -1),
		RunE: func(cmd *cobra.Command, names []string) error {
			changes := map[string]*string{}
			for _, name := range names {
				changes[name] = nil
			}
			return c.changeEnv(cmd, function, changes)
		},
	}
	names := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.Complete(cmd, func(ctx context.Context, node *command.Node) []string {
			env, _ := c.readEnv(ctx, node, function)
			return slices.Sorted(maps.Keys(env))
		})
	}
	get.ValidArgsFunction, unset.ValidArgsFunction = names, names
	for _, cmd := range []*cobra.Command{ls, get, set, unset} {
		cmd.Flags().StringVarP(&function, "function", "f", "", "the function's own variables instead of the app's")
		_ = cmd.RegisterFlagCompletionFunc("function", c.CompleteFunctions)
	}
	return command.Noun("env", "Variables that functions read: text by name", ls, get, set, unset)
}

// assignments parses arguments of the form NAME=VALUE.
func assignments(cmd *cobra.Command, given []string) (map[string]*string, error) {
	changes := map[string]*string{}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, failure.Usagef(cmd, "%q is not NAME=VALUE", picloud.Shorten(text, 80))
		}
		if !picloud.ValidVariable(name) {
			return nil, failure.Usagef(cmd, "%q is not a name: a letter or underscore, then letters, digits or underscores", picloud.Shorten(name, 80))
		}
		changes[name] = &value
	}
	return changes, nil
}

var secretive = regexp.MustCompile(`(?i)(SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY)`)

// warnOfSecrets warns about variables with names of secrets, because every viewer of the
// app can read variables.
func (c commands) warnOfSecrets(changes map[string]*string) {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if secretive.MatchString(name) {
			c.Warnf("every viewer of the app can read %s; a secret is set with: picloud secret set %s", name, name)
		}
	}
}

func (c commands) listEnv(cmd *cobra.Command, function string) error {
	env, err := command.Call(c.Base, cmd, "list variables of", c.owner(function), func(ctx context.Context, node *command.Node) (picloud.Env, error) {
		return c.readEnv(ctx, node, function)
	})
	if err != nil {
		return c.noOwner(err, function)
	}
	return c.printEnv(env, "")
}

// readEnv reads the variables of a function, or with "" of the app.
func (c commands) readEnv(ctx context.Context, node *command.Node, function string) (picloud.Env, error) {
	if function == "" {
		return client.Read[client.Env](node.GetEnv(ctx, c.App))
	}
	f, err := client.Read[client.Function](node.GetFunction(ctx, c.App, function))
	return f.Settings.Env, err
}

// variable is what `picloud env get` prints for programs.
type variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (c commands) getEnv(cmd *cobra.Command, function, name string) error {
	resource := c.owner(function)
	env, err := command.Call(c.Base, cmd, "read variable of", resource, func(ctx context.Context, node *command.Node) (picloud.Env, error) {
		env, err := c.readEnv(ctx, node, function)
		if err != nil {
			return nil, err
		}
		if _, ok := env[name]; !ok {
			return nil, noVariable(name, "")
		}
		return env, nil
	})
	if err != nil {
		return c.noOwner(err, function)
	}
	return c.Print(variable{name, env[name]}, func() {
		value := env[name]
		if output.Terminal(c.Stdout) {
			value = output.Clean(value)
		}
		c.Printf("%s\n", value)
	})
}

// printEnv prints variables. With a note, people get the note instead.
func (c commands) printEnv(env picloud.Env, note string) error {
	if env == nil {
		env = picloud.Env{} // {} in JSON, not null
	}
	return c.Print(env, func() {
		if note != "" {
			c.Printf("%s\n", note)
			return
		}
		if len(env) == 0 {
			c.Notef("There are no variables. Set one with: %s", failure.InApp("picloud env set NAME=VALUE", c.App))
			return
		}
		rows := make([][]string, 0, len(env))
		for _, name := range slices.Sorted(maps.Keys(env)) {
			rows = append(rows, []string{name, oneLine(env[name])})
		}
		c.Table("NAME VALUE", rows)
	})
}

// changeEnv sets variables. It removes those whose value is nil.
func (c commands) changeEnv(cmd *cobra.Command, function string, changes map[string]*string) error {
	resource := c.owner(function)
	env, err := command.Call(c.Base, cmd, "change variables of", resource, func(ctx context.Context, node *command.Node) (picloud.Env, error) {
		if function == "" {
			return changeAppEnv(ctx, node, c.App, changes)
		}
		f, err := changeFunction(ctx, node, c.App, function, func(f client.Function) (any, error) {
			return map[string]any{"env": changes}, missingVariables(f.Settings.Env, changes)
		})
		return f.Settings.Env, err
	})
	if err != nil {
		return c.noOwner(err, function)
	}
	return c.printEnv(env, strings.Join(slices.Sorted(maps.Keys(changes)), ", ")+" "+verb(changes)+" for "+resource)
}

// owner names the function whose variables they are, or the app if function is "".
func (c commands) owner(function string) string {
	if function == "" {
		return c.App
	}
	return c.App + "/" + function
}

// noOwner adds a hint to the error of an app or a function that was not found.
func (c commands) noOwner(err error, function string) error {
	if function == "" {
		return failure.NoApp(err, c.App)
	}
	return failure.NoFunction(err, c.App, function)
}

func verb(changes map[string]*string) string {
	for _, value := range changes {
		if value == nil {
			return "unset"
		}
	}
	return "set"
}

// changeAppEnv reads the variables of an app, applies the changes, and writes all of
// them back.
func changeAppEnv(ctx context.Context, node *command.Node, app string, changes map[string]*string) (picloud.Env, error) {
	return onTop(func() (picloud.Env, error) {
		env, etag, err := readTagged[client.Env](node.GetEnv(ctx, app))
		if err == nil {
			err = missingVariables(env, changes)
		}
		if err != nil {
			return nil, err
		}
		for name, value := range changes {
			if value == nil {
				delete(env, name)
			} else {
				env[name] = *value
			}
		}
		return client.Read[client.Env](node.ReplaceEnv(ctx, app, &client.ReplaceEnvParams{IfMatch: &etag}, env))
	})
}

// missingVariables returns an error when a variable to be removed does not exist.
func missingVariables(env picloud.Env, changes map[string]*string) error {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if _, ok := env[name]; changes[name] == nil && !ok {
			return noVariable(name, "; nothing was changed")
		}
	}
	return nil
}

func noVariable(name, and string) error {
	return &picloud.Error{
		Code: picloud.CodeNotFound, Detail: "there is no variable " + picloud.Shorten(name, 80) + and,
		Hint: "picloud env ls lists the variables",
	}
}

// oneLine returns a value for a cell of a table. It quotes a value that is empty, holds
// control characters, or begins or ends with white space.
func oneLine(value string) string {
	if value == "" || strings.TrimSpace(value) != value || strings.ContainsFunc(value, unicode.IsControl) {
		return strconv.Quote(value)
	}
	return value
}
