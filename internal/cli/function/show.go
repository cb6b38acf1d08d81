package function

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/setting"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) functionCommand() *cobra.Command {
	cmd := command.Noun("function", "Show and change functions: limits, methods, CORS, code",
		c.lsCommand(), c.functionShowCommand(), c.functionSetCommand(), c.functionCodeCommand(), c.rmCommand())
	cmd.Aliases = []string{"fn"}
	return cmd
}

func (c commands) functionShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show FUNCTION",
		Short:             "Show a function, its live version and its settings",
		Args:              command.Args(1, 1),
		ValidArgsFunction: c.CompleteFunctions,
		RunE: func(cmd *cobra.Command, names []string) error {
			f, err := command.Call(c.Base, cmd, "show function", c.App+"/"+names[0], func(ctx context.Context, node *command.Node) (client.Function, error) {
				return client.Read[client.Function](node.GetFunction(ctx, c.App, names[0]))
			})
			if err != nil {
				return failure.NoFunction(err, c.App, names[0])
			}
			return c.showFunction(cmd, f)
		},
	}
}

// showFunction prints a function, for people with the settings in force.
func (c commands) showFunction(cmd *cobra.Command, f client.Function) error {
	return c.Print(c.shown(f), func() {
		c.Table("NAME "+f.App+"/"+f.Name, c.functionRows(f, setting.DefaultsOf(c.Base, cmd, f.App)))
	})
}

// functionRows are the settings in force: what is set, and the defaults.
func (c commands) functionRows(f client.Function, defaults []setting.Source) [][]string {
	version := "none is live"
	if f.Version > 0 {
		version = fmt.Sprintf("v%d", f.Version)
	}
	rows := [][]string{
		{"version", version},
		{"url", c.urlOf(f)},
		{"changed", c.Ago(f.UpdatedAt)},
		{"revision", fmt.Sprint(f.Rev)},
		{"methods", methodsText(f.Settings.Methods, "all")},
	}
	name := "routes"
	for _, route := range f.Settings.Routes {
		rows = append(rows, []string{name, route})
		name = ""
	}
	rows = append(rows, []string{"cors", corsText(f.Settings.CORS)})
	rows = append(rows, corsRows(f.Settings)...)
	rows = append(rows, [][]string{
		{"env", target.FirstOf(strings.Join(slices.Sorted(maps.Keys(f.Settings.Env)), ", "), "only the app's")},
		{"secrets", secretsText(f.Settings.Secrets)},
		{"egress", target.FirstOf(strings.Join(f.Settings.Egress, ", "), "nowhere")},
	}...)
	return append(rows, setting.Rows(append([]setting.Source{{Name: "function", Limits: setting.TextsOf(f.Settings.Limits)}}, defaults...)...)...)
}

func secretsText(names []string) string {
	if names == nil {
		return "all of the app's"
	}
	return target.FirstOf(strings.Join(names, ", "), "none")
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

// methodsText lists methods as they are in force: HEAD comes with GET.
func methodsText(methods []string, all string) string {
	if slices.Contains(methods, "GET") && !slices.Contains(methods, "HEAD") {
		methods = slices.Insert(slices.Clone(methods), slices.Index(methods, "GET")+1, "HEAD")
	}
	return target.FirstOf(strings.Join(methods, ", "), all)
}

// corsRows are the parts of CORS in force, under the names of their flags.
func corsRows(s picloud.Settings) (rows [][]string) {
	cors := s.CORS
	if cors == nil {
		return nil
	}
	taken := methodsText(s.Methods, "all")
	if len(s.Routes) > 0 {
		taken = "those of the route"
	}
	headers := strings.Join(cors.Headers, ", ")
	if slices.Contains(cors.Headers, "*") {
		headers = "any"
	}
	return [][]string{
		{"cors-methods", target.FirstOf(strings.Join(cors.Methods, ", "), taken)},
		{"cors-headers", target.FirstOf(headers, "any")},
		{"cors-expose", target.FirstOf(strings.Join(cors.Expose, ", "), "none")},
		{"cors-max-age", cmp.Or(cors.MaxAge, picloud.Duration(picloud.DefaultCORSMaxAge)).String()},
	}
}
