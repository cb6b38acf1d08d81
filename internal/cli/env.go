package cli

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
	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) envCommand() *cobra.Command {
	var function string
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List the variables of the app, or of a function",
		Args:  args(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return c.listEnv(cmd.Context(), function) },
	}
	set := &cobra.Command{
		Use:   "set NAME=VALUE…",
		Short: "Set variables of the app, or of a function",
		Long: "Set variables, which scripts read with env.get(\"NAME\"). Others stay as they are. A function's own come\n" +
			"before the app's. Every node applies them without a restart and without a new version. They are no place\n" +
			"for passwords and keys, since every viewer of the app reads them: for those there is picloud secret.",
		Example: "  picloud env set LOG_LEVEL=debug GREETING='Good morning'\n" +
			"  picloud env set LOG_LEVEL=debug --function hello",
		Args: args(1, -1),
		RunE: func(cmd *cobra.Command, given []string) error {
			changes, err := assignments(cmd, given)
			if err != nil {
				return err
			}
			c.warnOfSecrets(changes)
			return c.changeEnv(cmd.Context(), function, changes)
		},
	}
	unset := &cobra.Command{
		Use:   "unset NAME…",
		Short: "Take variables away from the app, or from a function",
		Args:  args(1, -1),
		RunE: func(cmd *cobra.Command, names []string) error {
			changes := map[string]*string{}
			for _, name := range names {
				changes[name] = nil
			}
			return c.changeEnv(cmd.Context(), function, changes)
		},
	}
	for _, cmd := range []*cobra.Command{ls, set, unset} {
		cmd.Flags().StringVarP(&function, "function", "f", "", "the function's own variables instead of the app's")
		_ = cmd.RegisterFlagCompletionFunc("function", c.completeFunctions)
	}
	return noun("env", "Variables that functions read: text by name", ls, set, unset)
}

// assignments reads NAME=VALUE….
func assignments(cmd *cobra.Command, given []string) (map[string]*string, error) {
	changes := map[string]*string{}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usagef(cmd, "%q is not NAME=VALUE", picloud.Shorten(text, 80))
		}
		if !picloud.ValidVariable(name) {
			return nil, usagef(cmd, "%q is not a name: a letter or underscore, then letters, digits or underscores", picloud.Shorten(name, 80))
		}
		changes[name] = &value
	}
	return changes, nil
}

var secretive = regexp.MustCompile(`(?i)(SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY)`)

// warnOfSecrets tells somebody who is about to show a password to everybody.
func (c *cli) warnOfSecrets(changes map[string]*string) {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if secretive.MatchString(name) {
			c.warnf("every viewer of the app can read %s; a secret is set with: picloud secret set %s", name, name)
		}
	}
}

func (c *cli) listEnv(ctx context.Context, function string) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := deadline(ctx)
	defer cancel()
	var env picloud.Env
	if function == "" {
		env, err = client.Read[client.Env](node.GetEnv(ctx, c.app))
		err = noApp(node.fail(err, "list variables of", c.app), c.app)
	} else {
		var f client.Function
		f, err = client.Read[client.Function](node.GetFunction(ctx, c.app, function))
		env, err = f.Settings.Env, noFunction(node.fail(err, "list variables of", c.app+"/"+function), c.app, function)
	}
	if err != nil {
		return err
	}
	return c.printEnv(env, "")
}

// printEnv prints variables; note says to people what has changed.
func (c *cli) printEnv(env picloud.Env, note string) error {
	if env == nil {
		env = picloud.Env{} // {} in JSON, not null
	}
	return c.print(env, func() {
		if note != "" {
			c.printf("%s\n", note)
			return
		}
		if len(env) == 0 {
			c.notef("There are no variables. Set one with: %s", inApp("picloud env set NAME=VALUE", c.app))
			return
		}
		rows := make([][]string, 0, len(env))
		for _, name := range slices.Sorted(maps.Keys(env)) {
			rows = append(rows, []string{name, oneLine(env[name])})
		}
		c.table("NAME VALUE", rows)
	})
}

// changeEnv sets variables, and takes away those whose value is nil.
func (c *cli) changeEnv(ctx context.Context, function string, changes map[string]*string) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := deadline(ctx)
	defer cancel()
	var env picloud.Env
	resource := c.app
	if function == "" {
		env, err = node.changeAppEnv(ctx, c.app, changes)
	} else {
		resource += "/" + function
		var f client.Function
		f, err = node.changeFunction(ctx, c.app, function, func(f client.Function) (any, error) {
			return map[string]any{"env": changes}, missingVariables(f.Settings.Env, changes)
		})
		env = f.Settings.Env
	}
	switch err = node.fail(err, "change variables of", resource); {
	case err != nil && function == "":
		return noApp(err, c.app)
	case err != nil:
		return noFunction(err, c.app, function)
	}
	return c.printEnv(env, strings.Join(slices.Sorted(maps.Keys(changes)), ", ")+" "+verb(changes)+" for "+resource)
}

func verb(changes map[string]*string) string {
	for _, value := range changes {
		if value == nil {
			return "unset"
		}
	}
	return "set"
}

// changeAppEnv replaces the variables of an app by themselves with changes.
func (n *connection) changeAppEnv(ctx context.Context, app string, changes map[string]*string) (picloud.Env, error) {
	return onTop(func() (picloud.Env, error) {
		env, etag, err := readTagged[client.Env](n.GetEnv(ctx, app))
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
		return client.Read[client.Env](n.ReplaceEnv(ctx, app, &client.ReplaceEnvParams{IfMatch: &etag}, env))
	})
}

// missingVariables refuses to take away what is not there.
func missingVariables(env picloud.Env, changes map[string]*string) error {
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if _, ok := env[name]; changes[name] == nil && !ok {
			return &picloud.Error{
				Code: picloud.CodeNotFound, Detail: "there is no variable " + picloud.Shorten(name, 80) + "; nothing was changed",
				Hint: "picloud env ls lists those that there are",
			}
		}
	}
	return nil
}

// oneLine writes a value as a part of a table: quoted if it holds what a line
// cannot.
func oneLine(value string) string {
	if value == "" || strings.TrimSpace(value) != value || strings.ContainsFunc(value, unicode.IsControl) {
		return strconv.Quote(value)
	}
	return value
}
