package people

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) appCommand() *cobra.Command {
	return command.Noun("app", "Manage apps: groups of functions that share members and executors",
		&cobra.Command{
			Use:     "ls",
			Aliases: command.ListAliases,
			Short:   "List the apps that you are a member of",
			Args:    command.Args(0, 0),
			RunE:    func(cmd *cobra.Command, _ []string) error { return c.listApps(cmd) },
		},
		&cobra.Command{
			Use:   "add APP",
			Short: "Create an app; you become its owner",
			Args:  command.Args(1, 1),
			RunE: func(cmd *cobra.Command, names []string) error {
				app, err := command.Call(c.Base, cmd, "create app", names[0], func(ctx context.Context, node *command.Node) (client.App, error) {
					return client.Read[client.App](node.CreateApp(ctx, client.NewApp{Name: names[0]}))
				})
				if err != nil {
					return failure.Exists(err, "picloud app show "+names[0]+" shows it")
				}
				return c.Print(app, func() { c.Printf("app %s created\n", app.Name) })
			},
		},
		c.appShowCommand(),
		c.appSetCommand(),
		c.Removal(command.Removal{
			Use: "rm APP…", Short: "Delete apps with all that they hold", What: "app", Complete: c.CompleteApps,
			Long: "Delete apps with all that they hold: functions, members, variables, secrets and keys. The question says how\n" +
				"many there are of each.",
			Remove: func(ctx context.Context, node *command.Node, name string) error {
				_, err := client.Read[client.Nothing](node.DeleteApp(ctx, name))
				return node.Fail(err, "delete app", name)
			},
			Contents: func(ctx context.Context, node *command.Node, name string) (command.Contents, error) {
				held, err := client.Read[client.AppContents](node.GetAppContents(ctx, name))
				if errors.Is(err, picloud.ErrNotFound) {
					err = &picloud.Error{Code: picloud.CodeNotFound, Op: "delete app", Resource: name}
				}
				if err != nil {
					return command.Contents{}, failure.NoApp(node.Fail(err, "delete app", name), name)
				}
				return command.Contents{Text: output.Counts(
					output.Count{N: held.Functions, Noun: "function"}, output.Count{N: held.Members, Noun: "member"},
					output.Count{N: held.Variables, Noun: "variable"}, output.Count{N: held.Secrets, Noun: "secret"},
					output.Count{N: held.Keys, Noun: "key"},
				), Value: held}, nil
			},
		}),
	)
}

func (c commands) listApps(cmd *cobra.Command) error {
	apps, more, err := command.List(c.Base, cmd, "list apps", "", func(ctx context.Context, node *command.Node, limit *int, cursor *string) ([]client.App, string, error) {
		return node.Apps(ctx, limit, cursor)
	})
	if err != nil {
		return err
	}
	defer c.Cut(more)
	return c.Print(apps, func() {
		if len(apps) == 0 {
			c.Notef("You are not a member of any app. Make one with: picloud app add NAME, or let its admin add you: picloud member add USER ROLE --app APP")
			return
		}
		rows := make([][]string, 0, len(apps))
		for _, a := range apps {
			rows = append(rows, []string{a.Name, c.Ago(a.CreatedAt)})
		}
		c.Table("NAME CREATED", rows)
	})
}
