package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) appShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show [APP]",
		Short:             "Show an app, your role in it, and the limits that its functions share",
		Args:              args(0, 1),
		ValidArgsFunction: c.completeApps,
		RunE: func(cmd *cobra.Command, names []string) error {
			name := firstOf(append(names, c.app)...)
			node, err := c.connect()
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			app, err := client.Read[client.AppDetail](node.GetApp(ctx, name))
			if err != nil {
				return noApp(node.fail(err, "show app", name), name)
			}
			return c.print(app, func() { c.printApp(app, node.nodeDefaults(ctx)) })
		},
	}
}

func (c *cli) appSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set [APP]",
		Short: "Change the limits that an app's functions share, and the quota of its key-value store",
		Long: "Change settings of an app. What is not named stays as it is; --reset takes a setting back to its default.\n" +
			"A function's own limit comes before its app's, and that before the node's. Every node applies the change\n" +
			"without a restart.",
		Example: "  picloud app set shop --memory 128MiB --kv-bytes 1GiB\n" +
			"  picloud app set shop --reset memory,kv",
		Args:              args(0, 1),
		ValidArgsFunction: c.completeApps,
	}
	flags := addSettings(cmd, appSettings(), "limits", "kv")
	ifMatch := ifRevision(cmd, "app")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		settings, err := flags.patch(cmd)
		if err != nil {
			return err
		}
		patch, err := inSettings(settings)
		if err != nil {
			return err
		}
		name := firstOf(append(names, c.app)...)
		node, err := c.connect()
		if err != nil {
			return err
		}
		ctx, cancel := deadline(cmd.Context())
		defer cancel()
		app, err := client.Read[client.AppDetail](node.UpdateApp(ctx, name, &client.UpdateAppParams{IfMatch: ifMatch()}, patch))
		if err != nil {
			return noApp(node.fail(err, "change app", name), name)
		}
		return c.print(app, func() { c.printApp(app, node.nodeDefaults(ctx)) })
	}
	return cmd
}

// printApp writes the settings in force: what is set, and the defaults.
func (c *cli) printApp(app client.AppDetail, nodes source) {
	kv, set := app.Settings.KV.WithDefaults(), app.Settings.KV
	rows := [][]string{
		{"role", string(app.Role)},
		{"created", c.ago(app.CreatedAt)},
		{"revision", fmt.Sprint(app.Rev)},
		{"kv-bytes", kv.Bytes.String() + origin(set.Bytes != 0)},
		{"kv-keys", fmt.Sprint(kv.Keys) + origin(set.Keys != 0)},
	}
	c.table("NAME "+app.Name, append(rows, limitRows(source{"app", textsOf(app.Settings.Limits)}, nodes)...))
}

func origin(set bool) string {
	if set {
		return " (app)"
	}
	return " (default)"
}
