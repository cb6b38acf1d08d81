package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) secretCommand() *cobra.Command {
	return noun("secret", "Secrets of an app: sealed, never shown again, for its functions only",
		&cobra.Command{
			Use:   "ls",
			Short: "List the secrets of the app, without their values",
			Args:  args(0, 0),
			RunE:  func(cmd *cobra.Command, _ []string) error { return c.listSecrets(cmd.Context()) },
		},
		c.secretSetCommand(),
		c.removal("rm NAME", "Delete a secret", "secret", c.completeSecrets,
			func(ctx context.Context, node *connection, name string) error {
				_, err := client.Read[client.Nothing](node.DeleteSecret(ctx, c.app, name))
				return notFound(node.fail(err, "delete secret", c.app+"/"+name), inApp("picloud secret ls", c.app)+" lists those that are there")
			}),
	)
}

func (c *cli) secretSetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME",
		Short: "Set a secret; its value is asked for, or read from standard input",
		Long: "Set a secret, which scripts read with secrets.get(\"NAME\"). On a terminal the value is asked for and not\n" +
			"shown; else it is all of standard input, without the newline at its end if there is just one. It is never\n" +
			"an argument: every user of a machine can read those, and shells remember them.",
		Example: "  picloud secret set API_TOKEN\n" +
			"  pass show api-token | picloud secret set API_TOKEN\n" +
			"  picloud secret set TLS_KEY < key.pem",
		Args: func(cmd *cobra.Command, given []string) error {
			// What is wrong may be the value, which an error must not repeat.
			if len(given) > 1 || len(given) == 1 && strings.Contains(given[0], "=") {
				return usagef(cmd, "the value is never an argument, since every user of this machine can read those and shells remember them: "+
					"run it without the value to be asked for it, or pipe it in")
			}
			return args(1, 1)(cmd, given)
		},
		ValidArgsFunction: c.completeSecrets,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := picloud.CheckVariable("secret", names[0]); err != nil {
				return err
			}
			node, err := c.connect()
			if err != nil {
				return err
			}
			value, err := c.readValue(cmd, names[0])
			defer clear(value)
			if err != nil {
				return err
			}
			ctx, cancel := deadline(cmd.Context())
			defer cancel()
			resource := c.app + "/" + names[0]
			_, err = client.Read[client.Nothing](node.PutSecretWithBody(ctx, c.app, names[0], "application/octet-stream", bytes.NewReader(value)))
			if err != nil {
				return noApp(node.fail(err, "set secret", resource), c.app)
			}
			return c.print(secretSet{names[0], true}, func() { c.printf("secret %s set\n", names[0]) })
		},
	}
}

// secretSet is what `picloud secret set` prints for programs.
type secretSet struct {
	Name string `json:"name"`
	Set  bool   `json:"set"`
}

// readValue gets the value of a secret from a person, or from standard input.
func (c *cli) readValue(cmd *cobra.Command, name string) (value []byte, err error) {
	if terminal(c.Stdin) {
		c.question("Value of %s: ", name)
		value, err = term.ReadPassword(int(c.Stdin.(*os.File).Fd()))
		c.notef("")
	} else {
		value, err = io.ReadAll(io.LimitReader(c.Stdin, picloud.MaxSecretSize+2))
		value = withoutNewline(value)
	}
	switch {
	case err != nil:
		return value, fmt.Errorf("read value: %w", err)
	case len(value) == 0:
		return value, usagef(cmd, "no value was given")
	case len(value) > picloud.MaxSecretSize:
		return value, fmt.Errorf("read value: %w", errors.New("it is larger than "+picloud.Size(picloud.MaxSecretSize).String()))
	}
	return value, nil
}

// withoutNewline removes the newline that echo and editors leave at the end,
// but no part of a value that ends in empty lines.
func withoutNewline(value []byte) []byte {
	if rest, ok := bytes.CutSuffix(value, []byte("\n")); ok && !bytes.HasSuffix(rest, []byte("\n")) {
		return rest
	}
	return value
}

func (c *cli) listSecrets(ctx context.Context) error {
	node, err := c.connect()
	if err != nil {
		return err
	}
	ctx, cancel := deadline(ctx)
	defer cancel()
	secrets, err := client.Read[client.SecretList](node.ListSecrets(ctx, c.app))
	if err != nil {
		return noApp(node.fail(err, "list secrets of", c.app), c.app)
	}
	return c.print(secrets.Items, func() {
		if len(secrets.Items) == 0 {
			c.notef("App %s has no secrets. Set one with: %s", c.app, inApp("picloud secret set NAME", c.app))
			return
		}
		rows := make([][]string, 0, len(secrets.Items))
		for _, s := range secrets.Items {
			rows = append(rows, []string{s.Name, s.UpdatedBy, c.ago(s.UpdatedAt)})
		}
		c.table("NAME BY CHANGED", rows)
	})
}
