package people

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/setting"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) appShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show [APP]",
		Short:             "Show an app, your role in it, and the limits that its functions share",
		Args:              command.Args(0, 1),
		ValidArgsFunction: c.CompleteApps,
		RunE: func(cmd *cobra.Command, names []string) error {
			name := target.FirstOf(append(names, c.App)...)
			app, err := command.Call(c.Base, cmd, "show app", name, func(ctx context.Context, node *command.Node) (client.AppDetail, error) {
				return client.Read[client.AppDetail](node.GetApp(ctx, name))
			})
			if err != nil {
				return failure.NoApp(err, name)
			}
			return c.Print(app, func() {
				c.Table("NAME "+app.Name, c.appRows(app, setting.NodeDefaults(c.Base, cmd)))
			})
		},
	}
}

func (c commands) appSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set [APP]",
		Short: "Change the limits that an app's functions share, and the quota of its key-value store",
		Long: "Change settings of an app. Settings that are not named do not change; --reset takes a setting back to its\n" +
			"default. A function's own limit comes before its app's, and that before the node's. Every node applies the change\n" +
			"without a restart.",
		Example: "  picloud app set shop --memory 128MiB --kv-bytes 1GiB\n" +
			"  picloud app set shop --reset memory,kv",
		Args:              command.Args(0, 1),
		ValidArgsFunction: c.CompleteApps,
	}
	flags := setting.AddFlags(cmd, setting.OfApp(), "limits", "kv")
	ifMatch := setting.IfRevision(cmd, "app")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		settings, err := flags.Patch(cmd)
		if err != nil {
			return err
		}
		patch, err := setting.InSettings(settings)
		if err != nil {
			return err
		}
		name := target.FirstOf(append(names, c.App)...)
		app, err := command.Call(c.Base, cmd, "change app", name, func(ctx context.Context, node *command.Node) (client.AppDetail, error) {
			return client.Read[client.AppDetail](node.UpdateApp(ctx, name, &client.UpdateAppParams{IfMatch: ifMatch()}, patch))
		})
		if err != nil {
			return failure.NoApp(err, name)
		}
		return c.Print(app, func() {
			c.Table("NAME "+app.Name, flags.Changed(cmd, c.appRows(app, setting.NodeDefaults(c.Base, cmd)), nil))
		})
	}
	return cmd
}

// appRows are the settings in force: what is set, and the defaults.
func (c commands) appRows(app client.AppDetail, nodes setting.Source) [][]string {
	kv, set := app.Settings.KV.WithDefaults(), app.Settings.KV
	rows := [][]string{
		{"role", string(app.Role)},
		{"created", c.Ago(app.CreatedAt)},
		{"revision", fmt.Sprint(app.Rev)},
		{"kv-bytes", kv.Bytes.String() + origin(set.Bytes != 0)},
		{"kv-keys", fmt.Sprint(kv.Keys) + origin(set.Keys != 0)},
	}
	return append(rows, setting.Rows(setting.Source{Name: "app", Limits: setting.TextsOf(app.Settings.Limits)}, nodes)...)
}

func origin(set bool) string {
	if set {
		return " (app)"
	}
	return " (default)"
}
