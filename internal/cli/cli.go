package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
)

// Options configure the commands. The zero value serves a real terminal.
type Options struct {
	// Version is what `picloud version` prints. Default "dev".
	Version string
	// Stdin, Stdout and Stderr default to those of the process.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Getenv reads the environment. Default os.Getenv.
	Getenv func(string) string
	// Transport carries the requests. Default: one with timeouts for dialling,
	// TLS and the first byte of an answer.
	Transport http.RoundTripper
	// Now is the clock of relative times such as "3m ago". Default time.Now.
	Now func() time.Time
}

// cli is what the commands share: the options, completed, and the global flags.
type cli struct {
	Options

	server    string // --server
	functions string // --functions-url
	tokenFile string // --token-file
	app       string // --app
	output    format // --output
}

// The groups that the help lists commands under.
const (
	groupFunctions = "functions"
	groupConfig    = "config"
	groupPeople    = "people"
	groupNode      = "node"
	groupOther     = "other"
)

// New returns the root command `picloud` with every command that speaks to the
// control API. Add commands of the node itself and run it with Execute.
func New(o Options) *cobra.Command {
	c := &cli{Options: o.withDefaults()}
	root := &cobra.Command{
		Use:   "picloud",
		Short: "A script becomes a URL, on hardware you own",
		Long: "PiCloud runs small functions written in Risor on your own machines.\n" +
			"Deploy a script and call it:\n\n" +
			"  picloud deploy hello.risor\n" +
			"  picloud invoke hello --query name=Ada",
		Args:              noSuchCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err.Error()} })
	c.addGlobalFlags(root)

	root.AddGroup(&cobra.Group{ID: groupFunctions, Title: "Functions:"},
		&cobra.Group{ID: groupConfig, Title: "What functions are given:"},
		&cobra.Group{ID: groupPeople, Title: "Apps and people:"},
		&cobra.Group{ID: groupOther, Title: "Other:"})
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
		}
		root.AddCommand(commands...)
	}
	add(groupFunctions, c.deployCommand(), c.invokeCommand(), c.logsCommand(), c.lsCommand(), c.rmCommand(),
		c.versionsCommand(), c.rollbackCommand(), c.validateCommand(), c.testCommand(), c.functionCommand())
	add(groupConfig, c.envCommand(), c.secretCommand(), c.kvCommand(), c.egressCommand())
	add(groupPeople, c.appCommand(), c.memberCommand(), c.userCommand())
	add(groupOther, c.nodeCommand(), c.loginCommand(), c.versionCommand())
	return root
}

// Execute runs the command that the process's arguments name and returns the
// exit code: 0, 1 for a failure, 2 for wrong usage, 3 when something was not
// found, 4 for a conflict. It prints the error, if any, on standard error.
//
// Commands that were added to the root that New returned are listed as those
// of this node. Ctrl-C cancels the context of the client's commands; those of
// the node mind signals themselves.
func Execute(root *cobra.Command) int {
	groupNodeCommands(root)
	ctx := context.Background()
	if cmd, _, err := root.Find(os.Args[1:]); err == nil && ofClient(cmd) {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
	}
	cmd, err := root.ExecuteContextC(ctx)
	if out, ok := root.OutOrStdout().(*outlet); ok && err == nil && out.err != nil {
		err = fmt.Errorf("write output: %w", out.err)
	}
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	printError(root.ErrOrStderr(), cmd, err)
	return ExitCode(err)
}

// groupNodeCommands gives commands that others added a group of their own.
func groupNodeCommands(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.GroupID != "" {
			continue
		}
		if !root.ContainsGroup(groupNode) {
			root.AddGroup(&cobra.Group{ID: groupNode, Title: "This node:"})
		}
		cmd.GroupID = groupNode
	}
}

// ofClient reports whether cmd speaks to a node, rather than being one.
func ofClient(cmd *cobra.Command) bool {
	for ; cmd.HasParent(); cmd = cmd.Parent() {
		if cmd.GroupID != "" {
			return cmd.GroupID != groupNode
		}
	}
	return false
}

func (c *cli) addGlobalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.SortFlags = false
	app := c.Getenv("PICLOUD_APP")
	if app == "" {
		app = picloud.DefaultApp
	}
	flags.StringVar(&c.app, "app", app, "app to work on (env PICLOUD_APP)")
	flags.VarP(&c.output, "output", "o", "output: table, json or yaml")
	flags.StringVar(&c.server, "server", "", "control API of a node (env PICLOUD_SERVER)")
	flags.StringVar(&c.tokenFile, "token-file", "", "file that holds the API token, - for standard input (env PICLOUD_TOKEN holds the token itself)")
	flags.StringVar(&c.functions, "functions-url", "", "where functions are served, if not on port 8080 of the server (env PICLOUD_FUNCTIONS_URL)")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("app", c.completeApps)
}

func (o Options) withDefaults() Options {
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	o.Stdout = &outlet{Writer: o.Stdout}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
