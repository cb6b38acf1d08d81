package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/account"
	"github.com/picloud/picloud/internal/cli/cluster"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/config"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/function"
	"github.com/picloud/picloud/internal/cli/node"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/internal/cli/people"
	"github.com/picloud/picloud/internal/cli/target"
	"github.com/picloud/picloud/internal/datadir"
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
	// Service is the data folder of a node that runs as root on this machine; its
	// credentials are the last to be tried. Default datadir.Service.
	Service string
	// Now is the clock of relative times such as "3m ago". Default time.Now.
	Now func() time.Time
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
	o = o.withDefaults()
	c := o.base()
	root := &cobra.Command{
		Use:   "picloud",
		Short: "A script becomes a URL, on hardware you own",
		Long: "PiCloud runs small functions written in Risor on your own machines.\n" +
			"Deploy a script and call it:\n\n" +
			"  picloud deploy hello.risor\n" +
			"  picloud invoke hello --query name=Ada",
		Args:              command.NoSuchCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.Version = o.Version
	root.SetVersionTemplate(versionText(o.Version))
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.SetFlagErrorFunc(command.WrongFlag)
	addGlobalFlags(c, root)

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
	add(groupFunctions, function.Commands(c)...)
	add(groupConfig, config.Commands(c)...)
	add(groupPeople, people.Commands(c)...)
	add(groupOther, cluster.Command(c), node.Command(c))
	add(groupOther, account.Commands(c)...)
	add(groupOther, versionCommand(c, o.Version))
	return root
}

// Execute runs the command that the process's arguments name and returns the
// exit code: 0, 1 for a failure, 2 for wrong usage, 3 when something was not
// found, 4 for a conflict, 130 after Ctrl-C. It prints the error, if any, on standard
// error.
//
// Commands that were added to the root that New returned are listed as those
// of this node. Ctrl-C cancels the context of the client's commands; those of the node
// handle signals themselves.
func Execute(root *cobra.Command) int {
	groupNodeCommands(root)
	ctx := context.Background()
	if cmd, _, err := root.Find(os.Args[1:]); err == nil && ofClient(cmd) {
		var stop func()
		ctx, stop = withSignals(ctx)
		defer stop()
		if in, ok := root.InOrStdin().(*output.Inlet); ok {
			in.Bind(ctx)
		}
	}
	cmd, err := root.ExecuteContextC(ctx)
	if out, ok := root.OutOrStdout().(*output.Outlet); ok && err == nil && out.Err() != nil {
		err = fmt.Errorf("write output: %w", out.Err())
	}
	if err == nil {
		return 0
	}
	if interrupted, ok := errors.AsType[failure.Interrupted](context.Cause(ctx)); ok && errors.Is(err, context.Canceled) {
		err = interrupted
	}
	failure.PrintAs(formatOf(root, os.Args[1:]), root.ErrOrStderr(), cmd, err)
	return failure.ExitCode(err)
}

// withSignals returns a context that Ctrl-C and SIGTERM cancel, with the signal as its
// cause. stop restores the default handling of the signals.
func withSignals(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case s := <-signals:
			number, _ := s.(syscall.Signal)
			signal.Stop(signals) // a second Ctrl-C kills a process that does not end
			cancel(failure.Interrupted{Signal: number})
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		waiting.Wait()
	}
}

// formatOf returns the format of errors, which -o names. When a wrong flag kept -o from
// being parsed, formatOf looks for it in the arguments.
func formatOf(root *cobra.Command, args []string) output.Format {
	flag := root.PersistentFlags().Lookup("output")
	format, ok := flag.Value.(*output.Format)
	if !ok || flag.Changed {
		return *format
	}
	for i, arg := range args {
		value, found := strings.CutPrefix(arg, "--output=")
		if !found && strings.HasPrefix(arg, "-o") {
			value, found = strings.TrimPrefix(strings.TrimPrefix(arg, "-o"), "="), true
		}
		if (arg == "-o" || arg == "--output") && i+1 < len(args) {
			value, found = args[i+1], true
		}
		var asked output.Format
		if found && asked.Set(value) == nil {
			return asked
		}
	}
	return *format
}

// groupNodeCommands puts the commands that cmd/picloud added into a group of their own.
func groupNodeCommands(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.GroupID != "" {
			continue
		}
		if !root.ContainsGroup(groupNode) {
			root.AddGroup(&cobra.Group{ID: groupNode, Title: "This node:"})
		}
		cmd.GroupID = groupNode
		if check := cmd.Args; check != nil && !cmd.HasSubCommands() {
			cmd.Args = func(cmd *cobra.Command, given []string) error {
				if check(cmd, given) != nil {
					return failure.Usagef(cmd, "unexpected argument %q", given[0])
				}
				return nil
			}
		}
	}
}

// ofClient reports whether cmd is one of the client's commands, and not one of the node.
func ofClient(cmd *cobra.Command) bool {
	for ; cmd.HasParent(); cmd = cmd.Parent() {
		if cmd.GroupID != "" {
			return cmd.GroupID != groupNode
		}
	}
	return false
}

func addGlobalFlags(c *command.Base, root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.SortFlags = false
	app := c.Target.Getenv("PICLOUD_APP")
	if app == "" {
		app = picloud.DefaultApp
	}
	flags.StringVar(&c.App, "app", app, "app to work on (env PICLOUD_APP)")
	flags.VarP(&c.Format, "output", "o", "output: table, json or yaml")
	flags.StringVar(&c.Target.Server, "server", "", "control API of a node, such as http://pi-1.local:8081 or pi-1.local:8081 (env PICLOUD_SERVER)")
	flags.StringVar(&c.Target.TokenFile, "token-file", "", "file that holds the API token, - for standard input (env PICLOUD_TOKEN holds the token itself)")
	flags.StringVar(&c.Target.Context, "context", "", "login to use, of those that picloud context ls lists (env PICLOUD_CONTEXT)")
	flags.StringVar(&c.Target.Functions, "functions-url", "", fmt.Sprintf("where functions are served, if not on port %d of the server (env PICLOUD_FUNCTIONS_URL)", picloud.DefaultHTTPPort))
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("app", c.CompleteApps)
	_ = root.RegisterFlagCompletionFunc("context", c.CompleteContexts)
}

// base is what every command is given.
func (o Options) base() *command.Base {
	printer := &output.Printer{Stdout: o.Stdout, Stderr: o.Stderr, Now: o.Now}
	in := &output.Inlet{Reader: o.Stdin}
	return &command.Base{
		Printer:   printer,
		Target:    target.Finder{Getenv: o.Getenv, Stdin: in, Warnf: printer.Warnf, Service: o.Service},
		Stdin:     in,
		Transport: o.Transport,
	}
}

func (o Options) withDefaults() Options {
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Service == "" {
		o.Service = datadir.Service
	}
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	o.Stdout = &output.Outlet{Writer: o.Stdout}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Transport == nil {
		o.Transport = command.NewTransport()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
