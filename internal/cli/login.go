package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/manager/api/client"
)

func loginCommand(c *command.Base) *cobra.Command {
	var token string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Save a server and an API token for the other commands",
		Long: "Check an API token and save it, with the server, in " + "$XDG_CONFIG_HOME/picloud/config.json (mode 0600).\n" +
			"The token is asked for on a terminal, else read from standard input, from --token-file, or from\n" +
			"PICLOUD_TOKEN. It is never an argument: every user of a machine can read those.",
		Example: "  picloud login --server http://pi-1.local:8081\n" +
			"  picloud login --token-file ada.token\n" +
			"  pass show picloud | picloud login --token -",
		Args: command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if token != "" && token != "-" {
				return failure.Usagef(cmd, "--token takes only -, for standard input: every user of this machine can read arguments")
			}
			return login(c, cmd, token == "-")
		},
	}
	cmd.Flags().StringVar(&token, "token", "", "- reads the token from standard input")
	return cmd
}

func login(c *command.Base, cmd *cobra.Command, fromStdin bool) error {
	server := c.Target.ServerOrDefault()
	token, err := newToken(c, cmd, server, fromStdin)
	if err != nil {
		return err
	}
	functions := c.Target.FunctionsURL()
	t, err := c.Target.New(server, token, functions)
	if err != nil {
		return err
	}
	node, err := c.ConnectTo(t)
	if err != nil {
		return err
	}
	session, err := command.Ask(cmd.Context(), node, "sign in at", server, func(ctx context.Context, node *command.Node) (client.Session, error) {
		return client.Read[client.Session](node.GetSession(ctx))
	})
	if err != nil {
		return err
	}
	saved := credentials.File{Server: server, User: session.User.Name, Token: token, Functions: functions}
	if err := credentials.Write(c.Target.ConfigPath(), saved); err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	result := signedIn{server, session.User.Name, session.Node, c.Target.ConfigPath()}
	return c.Print(result, func() {
		c.Printf("signed in at %s as %s (node %s)\nsaved to %s\n", server, output.Clean(result.User), output.Clean(result.Node), result.Saved)
	})
}

// signedIn is what `picloud login` prints for programs.
type signedIn struct {
	Server string `json:"server"`
	User   string `json:"user"`
	Node   string `json:"node"`
	Saved  string `json:"saved"`
}

// newToken gets the token to save: from a file, the environment, standard
// input, or a person.
func newToken(c *command.Base, cmd *cobra.Command, server string, fromStdin bool) (string, error) {
	switch {
	case fromStdin:
		return c.Target.ReadToken("-")
	case c.Target.TokenFile != "":
		return c.Target.ReadToken(c.Target.TokenFile)
	case c.Target.Getenv("PICLOUD_TOKEN") != "":
		return c.Target.Getenv("PICLOUD_TOKEN"), nil
	case !output.Terminal(c.Stdin):
		return c.Target.ReadToken("-")
	}
	typed, err := c.ReadHidden("API token for %s: ", server)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(typed))
	if token == "" {
		return "", failure.Usagef(cmd, "no token was given")
	}
	return token, nil
}
