package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) secretCommand() *cobra.Command {
	return command.Noun("secret", "Secrets of an app: sealed, never shown again, for its functions only",
		&cobra.Command{
			Use:     "ls",
			Aliases: command.ListAliases,
			Short:   "List the secrets of the app, without their values",
			Args:    command.Args(0, 0),
			RunE:    func(cmd *cobra.Command, _ []string) error { return c.listSecrets(cmd) },
		},
		c.secretSetCommand(),
		c.Removal(command.Removal{
			Use: "rm NAME…", Short: "Delete secrets", What: "secret", Complete: c.CompleteSecrets,
			Remove: func(ctx context.Context, node *command.Node, name string) error {
				_, err := client.Read[client.Nothing](node.DeleteSecret(ctx, c.App, name))
				return failure.NotFound(node.Fail(err, "delete secret", c.App+"/"+name), failure.InApp("picloud secret ls", c.App)+" lists those that are there")
			},
		}),
	)
}

func (c commands) secretSetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME",
		Short: "Set a secret; its value is asked for, or read from standard input",
		Long: "Set a secret, which scripts read with secrets.get(\"NAME\"). On a terminal the value is asked for and not\n" +
			"shown; otherwise it is all of standard input, without the newline at its end if there is just one. It is never\n" +
			"an argument: every user of a machine can read those, and shells remember them.",
		Example: "  picloud secret set API_TOKEN\n" +
			"  pass show api-token | picloud secret set API_TOKEN\n" +
			"  picloud secret set TLS_KEY < key.pem",
		Args: func(cmd *cobra.Command, given []string) error {
			// The wrong argument may be the secret, so the error must not repeat it.
			if len(given) > 1 || len(given) == 1 && strings.Contains(given[0], "=") {
				return failure.Usagef(cmd, "the value is never an argument, since every user of this machine can read those and shells remember them: "+
					"run it without the value to be asked for it, or pipe it in")
			}
			return command.Args(1, 1)(cmd, given)
		},
		ValidArgsFunction: c.CompleteSecrets,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := picloud.CheckVariable("secret", names[0]); err != nil {
				return err
			}
			node, err := c.Connect()
			if err != nil {
				return err
			}
			value, err := c.readValue(cmd, names[0])
			defer clear(value)
			if err != nil {
				return err
			}
			_, err = command.Ask(cmd.Context(), node, "set secret", c.App+"/"+names[0], func(ctx context.Context, node *command.Node) (client.Nothing, error) {
				return client.Read[client.Nothing](node.PutSecretWithBody(ctx, c.App, names[0], "application/octet-stream", bytes.NewReader(value)))
			})
			if err != nil {
				return failure.NoApp(err, c.App)
			}
			return c.Print(secretSet{names[0], true}, func() { c.Printf("secret %s set\n", names[0]) })
		},
	}
}

// secretSet is what `picloud secret set` prints for programs.
type secretSet struct {
	Name string `json:"name"`
	Set  bool   `json:"set"`
}

// readValue asks a person for the value of a secret. Without a terminal it reads standard
// input.
func (c commands) readValue(cmd *cobra.Command, name string) (value []byte, err error) {
	if output.Terminal(c.Stdin) {
		value, err = c.ReadHidden("Value of %s: ", name)
	} else {
		value, err = io.ReadAll(io.LimitReader(c.Stdin, picloud.MaxSecretSize+2))
		value = withoutNewline(value)
	}
	switch {
	case err != nil:
		return value, fmt.Errorf("read value: %w", err)
	case len(value) == 0:
		return value, failure.Usagef(cmd, "no value was given")
	case len(value) > picloud.MaxSecretSize:
		return value, fmt.Errorf("read value: %w", errors.New("it is larger than "+picloud.Size(picloud.MaxSecretSize).String()))
	}
	return value, nil
}

// withoutNewline removes a newline at the end, which echo and editors add. A value that
// ends in several newlines stays as it is.
func withoutNewline(value []byte) []byte {
	if rest, ok := bytes.CutSuffix(value, []byte("\n")); ok && !bytes.HasSuffix(rest, []byte("\n")) {
		return rest
	}
	return value
}

func (c commands) listSecrets(cmd *cobra.Command) error {
	secrets, err := command.Call(c.Base, cmd, "list secrets of", c.App, func(ctx context.Context, node *command.Node) (client.SecretList, error) {
		return client.Read[client.SecretList](node.ListSecrets(ctx, c.App))
	})
	if err != nil {
		return failure.NoApp(err, c.App)
	}
	return c.Print(secrets.Items, func() {
		if len(secrets.Items) == 0 {
			c.Notef("App %s has no secrets. Set one with: %s", c.App, failure.InApp("picloud secret set NAME", c.App))
			return
		}
		rows := make([][]string, 0, len(secrets.Items))
		for _, s := range secrets.Items {
			rows = append(rows, []string{s.Name, s.UpdatedBy, c.Ago(s.UpdatedAt)})
		}
		c.Table("NAME BY CHANGED", rows)
	})
}
