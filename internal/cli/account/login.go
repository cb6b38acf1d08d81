package account

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/manager/api/client"
)

func (c commands) loginCommand() *cobra.Command {
	var token string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Save a server and an API token for the other commands",
		Long: "Check an API token and save it, with the server, in $XDG_CONFIG_HOME/picloud/config.json (mode 0600).\n" +
			"The token is asked for on a terminal, else read from standard input, from --token-file, or from\n" +
			"PICLOUD_TOKEN. It is never an argument: every user of a machine can read those.\n\n" +
			"Each server has a context there, which --context names; without it the host does. The last login is the\n" +
			"one that commands use; picloud context use changes that.",
		Example: "  picloud login --server pi-1.local:8081\n" +
			"  picloud login --server https://cloud.example.org --context work\n" +
			"  picloud login --token-file ada.token\n" +
			"  pass show picloud | picloud login --token -",
		Args: command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if token != "" && token != "-" {
				return failure.Usagef(cmd, "--token takes only -, for standard input: every user of this machine can read arguments")
			}
			return c.login(cmd, token == "-")
		},
	}
	cmd.Flags().StringVar(&token, "token", "", "- reads the token from standard input")
	return cmd
}

func (c commands) login(cmd *cobra.Command, fromStdin bool) error {
	if c.Target.Context != "" {
		if err := target.CheckContextName(c.Target.Context); err != nil {
			return failure.Usagef(cmd, "--context: %v", err)
		}
	}
	if _, err := c.logins(); err != nil {
		return err // before a person types a token
	}
	server, err := c.Target.ServerOrDefault()
	if err != nil {
		return err
	}
	token, err := c.newToken(cmd, server, fromStdin)
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
		return badToken(err)
	}
	name := c.Target.Context
	err = c.Target.ChangeLogins(func(logins *target.Logins) error {
		if name == "" {
			name = logins.NameFor(server)
		}
		logins.Put(target.Context{Name: name, File: credentials.File{Server: server, User: session.User.Name, Token: token, Functions: functions}})
		return nil
	})
	if err != nil {
		return fmt.Errorf("save login: %w", err)
	}
	result := signedIn{server, session.User.Name, session.Node, c.Target.ConfigPath(), name}
	err = c.Print(result, func() {
		c.Printf("signed in at %s as %s (node %s)\nsaved to %s as context %s\n", server, output.Clean(result.User), output.Clean(result.Node), result.Saved, name)
	})
	c.warnIfPassedOver(name)
	return err
}

// badToken replaces the hint of a token that the node does not know: nothing is saved yet,
// and a person may have pasted only a part of it.
func badToken(err error) error {
	if f, ok := errors.AsType[*failure.Failure](err); ok && f.Err.Code == picloud.CodeUnauthenticated {
		f.Err.Hint = "a token is pct_ and what follows, as picloud user add printed it; nothing was saved. " +
			"An admin makes a new one with: picloud user token USER; whoever owns the node's machine with: picloud user token USER --local"
	}
	return err
}

// signedIn is what `picloud login` prints for programs.
type signedIn struct {
	Server  string `json:"server"`
	User    string `json:"user"`
	Node    string `json:"node"`
	Saved   string `json:"saved"`
	Context string `json:"context"`
}

// warnIfPassedOver warns when a variable of the environment comes before the context that
// the user has chosen.
func (c commands) warnIfPassedOver(name string) {
	for _, variable := range []string{"PICLOUD_TOKEN", "PICLOUD_CONTEXT", "PICLOUD_SERVER", "PICLOUD_DATA"} {
		value := c.Target.Getenv(variable)
		if value == "" || variable == "PICLOUD_CONTEXT" && value == name {
			continue
		}
		bare := c.Target // as the next command will see it
		bare.Context, bare.Server, bare.TokenFile, bare.Warnf = "", "", "", func(string, ...any) {}
		if t, err := bare.Find(); err != nil || t.Context != name {
			c.Warnf("%s is set, and counts before this login; unset it to use context %s", variable, name)
			return
		}
	}
}

// newToken reads the token to save from a file, the environment or standard input, or
// asks a person for it.
func (c commands) newToken(cmd *cobra.Command, server string, fromStdin bool) (string, error) {
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
