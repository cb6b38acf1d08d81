package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) functionCommand() *cobra.Command {
	ls := c.lsCommand()
	rm := c.rmCommand()
	return noun("function", "Show and change functions: limits, methods, CORS, code",
		ls, c.functionShowCommand(), c.functionSetCommand(), c.functionCodeCommand(), rm)
}

func (c *cli) functionShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show FUNCTION",
		Short:             "Show a function, its live version and its settings",
		Args:              args(1, 1),
		ValidArgsFunction: c.completeFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			f, err := client.Read[client.Function](node.GetFunction(ctx, c.app, names[0]))
			if err != nil {
				return noFunction(node.fail(err, "show function", c.app+"/"+names[0]), c.app, names[0])
			}
			return c.showFunction(ctx, node, f)
		},
	}
}

// showFunction prints a function, for people with the settings in force.
func (c *cli) showFunction(ctx context.Context, node *connection, f client.Function) error {
	return c.print(f, func() { c.printFunction(node, f, node.defaultsOf(ctx, f.App)) })
}

// printFunction writes the settings in force: what is set, and the defaults.
func (c *cli) printFunction(node *connection, f client.Function, defaults []source) {
	version := "none is live"
	if f.Version > 0 {
		version = fmt.Sprintf("v%d", f.Version)
	}
	rows := [][]string{
		{"version", version},
		{"url", node.functionURL("/fn/" + f.App + "/" + f.Name)},
		{"changed", c.ago(f.UpdatedAt)},
		{"revision", fmt.Sprint(f.Rev)},
		{"methods", firstOf(strings.Join(f.Settings.Methods, ", "), "all")},
		{"cors", corsText(f.Settings.CORS)},
	}
	rows = append(rows, corsRows(f.Settings.CORS)...)
	rows = append(rows, [][]string{
		{"env", firstOf(strings.Join(slices.Sorted(maps.Keys(f.Settings.Env)), ", "), "only the app's")},
		{"secrets", secretsText(f.Settings.Secrets)},
		{"egress", firstOf(strings.Join(f.Settings.Egress, ", "), "nowhere")},
	}...)
	rows = append(rows, limitRows(append([]source{{"function", textsOf(f.Settings.Limits)}}, defaults...)...)...)
	c.table("NAME "+f.App+"/"+f.Name, rows)
}

func secretsText(names []string) string {
	if names == nil {
		return "all of the app's"
	}
	return firstOf(strings.Join(names, ", "), "none")
}

func corsText(cors *picloud.CORS) string {
	if cors == nil {
		return "off"
	}
	text := strings.Join(cors.Origins, ", ")
	if cors.Credentials {
		text += " with credentials"
	}
	return text
}

// corsRows are the parts of CORS that are set, under the names of their flags.
func corsRows(cors *picloud.CORS) (rows [][]string) {
	if cors == nil {
		return nil
	}
	for _, part := range []struct {
		name   string
		values []string
	}{
		{"cors-methods", cors.Methods}, {"cors-headers", cors.Headers}, {"cors-expose", cors.Expose},
	} {
		if len(part.values) > 0 {
			rows = append(rows, []string{part.name, strings.Join(part.values, ", ")})
		}
	}
	if cors.MaxAge > 0 {
		rows = append(rows, []string{"cors-max-age", cors.MaxAge.String()})
	}
	return rows
}

func (c *cli) functionCodeCommand() *cobra.Command {
	var version string
	cmd := &cobra.Command{
		Use:               "code FUNCTION",
		Short:             "Print the source of a version",
		Example:           "  picloud function code hello --version v1 > hello.risor",
		Args:              args(1, 1),
		ValidArgsFunction: c.completeFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			number := 0
			if version != "" {
				var err error
				if number, err = parseVersion(cmd, version); err != nil {
					return err
				}
			}
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			resource := c.app + "/" + names[0]
			if number == 0 {
				f, err := client.Read[client.Function](node.GetFunction(ctx, c.app, names[0]))
				if err != nil {
					return node.fail(err, "read code of", resource)
				}
				if number = f.Version; number == 0 {
					return &picloud.Error{
						Code: picloud.CodeNotFound, Op: "read code of", Resource: resource,
						Detail: "no version is live", Hint: "picloud versions " + names[0] + " lists those that were",
					}
				}
			}
			source, err := client.Read[string](node.GetVersionCode(ctx, c.app, names[0], number))
			if err != nil {
				return node.fail(err, "read code of", fmt.Sprintf("%s v%d", resource, number))
			}
			return c.print(sourceCode{number, source}, func() { c.printf("%s", source) })
		},
	}
	cmd.Flags().StringVar(&version, "version", "", "version, such as v3 (default: the live one)")
	return cmd
}

// sourceCode is what `picloud function code` prints for programs.
type sourceCode struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
}
