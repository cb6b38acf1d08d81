package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picloud/picloud/manager/api/client"
)

func (c *cli) loginCommand() *cobra.Command {
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
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if token != "" && token != "-" {
				return usagef(cmd, "--token takes only -, for standard input: every user of this machine can read arguments")
			}
			return c.login(cmd, token == "-")
		},
	}
	cmd.Flags().StringVar(&token, "token", "", "- reads the token from standard input")
	return cmd
}

func (c *cli) login(cmd *cobra.Command, fromStdin bool) error {
	server := strings.TrimRight(firstOf(c.server, c.Getenv("PICLOUD_SERVER"), defaultServer), "/")
	token, err := c.newToken(cmd, server, fromStdin)
	if err != nil {
		return err
	}
	functions := firstOf(c.functions, c.Getenv("PICLOUD_FUNCTIONS_URL"))
	t, err := c.newTarget(server, token, functions)
	if err != nil {
		return err
	}
	node, err := c.connectTo(t)
	if err != nil {
		return err
	}
	session, err := node.session(cmd.Context())
	if err != nil {
		return node.fail(err, "sign in at", server)
	}
	saved := credentials{Server: server, User: session.User.Name, Token: token, Functions: functions}
	if err := saveCredentials(c.configPath(), saved); err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	result := signedIn{server, session.User.Name, session.Node, c.configPath()}
	return c.print(result, func() {
		c.printf("signed in at %s as %s (node %s)\nsaved to %s\n", server, clean(result.User), clean(result.Node), result.Saved)
	})
}

// signedIn is what `picloud login` prints for programs.
type signedIn struct {
	Server string `json:"server"`
	User   string `json:"user"`
	Node   string `json:"node"`
	Saved  string `json:"saved"`
}

func (n *connection) session(ctx context.Context) (client.Session, error) {
	ctx, cancel := deadline(ctx)
	defer cancel()
	return client.Read[client.Session](n.GetSession(ctx))
}

// newToken gets the token to save: from a file, the environment, standard
// input, or a person.
func (c *cli) newToken(cmd *cobra.Command, server string, fromStdin bool) (string, error) {
	switch {
	case fromStdin:
		return c.readToken("-")
	case c.tokenFile != "":
		return c.readToken(c.tokenFile)
	case c.Getenv("PICLOUD_TOKEN") != "":
		return c.Getenv("PICLOUD_TOKEN"), nil
	case !terminal(c.Stdin):
		return c.readToken("-")
	}
	c.question("API token for %s: ", server)
	typed, err := term.ReadPassword(int(c.Stdin.(*os.File).Fd()))
	c.notef("")
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(typed))
	if token == "" {
		return "", usagef(cmd, "no token was given")
	}
	return token, nil
}
