package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/local"
)

const (
	// reloadTimeout bounds a reload, the handover of connections included.
	reloadTimeout = 30 * time.Second
	// stopTimeout is how long `picloud stop` waits by default: calls that run have
	// gracePeriod, and then the database server writes what it has.
	stopTimeout = time.Minute
)

// whichNode are the flags that name a running node.
type whichNode struct{ data, config string }

func (w *whichNode) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.data, "data", "", "data folder of the node [$PICLOUD_DATA]")
	cmd.Flags().StringVar(&w.config, "config", "", "Caddyfile of the node, for the data folder that it names")
}

// folder finds the data folder of the node that the user means: that of --data, else
// of --config, else of PICLOUD_DATA, else of the Caddyfile that `picloud run` would
// take here, else the default. other is the folder that the Caddyfile names if that is
// another one.
func (w whichNode) folder(e environment) (dir, other string, err error) {
	if w.data != "" {
		e.values["data"] = w.data
	}
	c, configErr := e.configure(w.config)
	if w.config != "" && configErr != nil {
		return "", "", configErr
	}
	inFile := ""
	if configErr == nil && c.path != "" && c.home.texts["data"] != "" {
		inFile = c.home.DataDir
	}
	switch named := e.values["data"]; {
	case named != "" && (w.config == "" || w.data != ""):
		if dir, err = filepath.Abs(named); dir != inFile {
			other = inFile
		}
	case inFile != "":
		dir = inFile
	default:
		dir, err = e.found()
	}
	return dir, other, err
}

// hint completes the error that no node runs.
func (w whichNode) hint(err error, other string) error {
	if away := (*local.Away)(nil); errors.As(err, &away) && other != "" {
		away.Hint = "the Caddyfile here names another one: --data " + datadir.Quote(other)
	}
	return err
}

func reloadCommand(opts Options) *cobra.Command {
	var which whichNode
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the running node read its Caddyfile again",
		Long: "Make the node that runs on this data folder read its configuration again, from\n" +
			"where it read it at its start and with its own environment. No request is\n" +
			"dropped, and a configuration that does not load changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, other, err := which.folder(readEnvironment(opts.Getenv))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), reloadTimeout)
			defer cancel()
			if err := local.Reload(ctx, dir); err != nil {
				return which.hint(err, other)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "configuration reloaded")
			return err
		},
	}
	which.addTo(cmd)
	return cmd
}

func stopCommand(opts Options) *cobra.Command {
	var which whichNode
	timeout := stopTimeout
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop the running node and wait until it has ended",
		Long: "Stop the node that runs on this data folder, and wait until its process and the\n" +
			"database server that it started have ended. Calls that run get time to end.\n\n" +
			"Exit code: 0 when the node has stopped, 3 when none runs there, 1 for everything else.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, other, err := which.folder(readEnvironment(opts.Getenv))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			pid, err := local.Stop(ctx, dir)
			if err != nil {
				return which.hint(err, other)
			}
			text := "the node of " + datadir.Shorten(dir)
			if pid != 0 {
				text += fmt.Sprintf(" (process %d)", pid)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text+" has stopped")
			return err
		},
	}
	which.addTo(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait for the end")
	return cmd
}

func statusCommand(opts Options) *cobra.Command {
	var which whichNode
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the node that runs on this machine",
		Long: "Show whether a node runs on this data folder, since when, where it listens, and\n" +
			"what it serves. It needs no API token: it asks a socket in the data folder, which\n" +
			"only the node's user can open.\n\n" +
			"Exit code: 0 when the node serves, 3 when none runs there, 1 when it runs and does\n" +
			"not serve (it starts, stops, or does not answer) and for everything else.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, other, err := which.folder(readEnvironment(opts.Getenv))
			if err != nil {
				return err
			}
			s, err := local.Look(cmd.Context(), dir)
			if err != nil {
				return err
			}
			programs := forPrograms(cmd)
			switch {
			case programs:
				err = writeJSON(cmd.OutOrStdout(), s)
			case s.Running:
				_, err = io.WriteString(cmd.OutOrStdout(), describe(s, time.Now()))
			}
			switch {
			case err != nil:
				return err
			case !s.Running && programs:
				return silent{3}
			case !s.Running:
				return which.hint(&local.Away{Data: dir}, other)
			case s.State != local.Ready && s.State != local.Degraded:
				return silent{1}
			}
			return nil
		},
	}
	which.addTo(cmd)
	return cmd
}

// forPrograms reports whether -o asks for JSON or YAML; JSON is YAML too.
func forPrograms(cmd *cobra.Command) bool {
	f := cmd.Flag("output") // the CLI's own
	return f != nil && f.Value.String() != "table"
}

func writeJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// silent ends a command with an exit code, after its output has said why.
type silent struct{ code int }

func (silent) Error() string   { return "" }
func (s silent) ExitCode() int { return s.code }

// describe shows a node that runs.
func describe(s local.Status, now time.Time) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	state := s.State
	if s.Reason != "" {
		state += ": " + s.Reason
	}
	if s.Node != "" {
		row("node", "%s", s.Node)
	}
	row("state", "%s", state)
	if s.PID != 0 {
		row("process", "%d", s.PID)
	}
	if s.StartedAt != nil {
		row("since", "%s (%s)", s.StartedAt.Local().Format(time.DateTime), now.Sub(*s.StartedAt).Round(time.Second))
	}
	if s.Version != "" {
		row("version", "%s", s.Version)
	}
	if s.FunctionsURL != "" {
		row("functions", "%s/fn/…", s.FunctionsURL)
		row("control", "%s", s.ControlURL)
	}
	if len(s.Listens) > 0 {
		row("listens on", "%s", strings.Join(s.Listens, ", "))
	}
	row("data", "%s", datadir.Shorten(s.Data))
	if s.Config != "" {
		row("config", "%s", datadir.Shorten(s.Config))
	}
	if s.Database != "" {
		row("database", "%s", s.Database)
	}
	if s.FunctionsURL != "" {
		row("serves", "%s, revision %s", picloud.Count(s.Functions, "function"), strconv.FormatInt(s.Revision, 10))
	}
	return b.String()
}

// resetTimeout bounds the end of a database server that a killed node has left.
const resetTimeout = time.Minute

// NodeCommands returns the commands below `picloud node` that need the data folder.
func NodeCommands(opts Options) []*cobra.Command {
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	var which whichNode
	var yes bool
	reset := &cobra.Command{
		Use:   "reset",
		Short: "Delete all that this machine's node keeps, so that it can join a cluster",
		Long: "Delete what the node of this data folder keeps: its place in a cluster, its copy of the\n" +
			"functions, its logs, the key for secrets, and its own database with everything in it.\n" +
			"The node must be stopped. A cluster that the node is a member of goes on listing it until\n" +
			"`picloud node rm` removes it there.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env := readEnvironment(opts.Getenv)
			env.own(opts.Getenv)
			dir, _, err := which.folder(env)
			if err != nil {
				return err
			}
			return resetNode(cmd, dir, env.values["postgres_bin"], yes)
		},
	}
	which.addTo(reset)
	reset.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return []*cobra.Command{reset}
}

func resetNode(cmd *cobra.Command, dir, postgresBin string, yes bool) error {
	h, found := agent.Inspect(dir)
	if !found {
		return &picloud.Error{Code: picloud.CodeNotFound, Op: "reset node", Resource: dir, Detail: "no node has kept anything there", Hint: "name its data folder with --data"}
	}
	lock, err := datadir.Acquire(dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	if !yes {
		if err := confirmReset(cmd, dir, h); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), resetTimeout)
	defer cancel()
	if err := agent.Reset(ctx, dir, postgresBin, lock, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "the node of %s is empty: %s deleted\n", datadir.Shorten(dir), h.Text)
	return err
}

// confirmReset asks whoever sits at a terminal.
func confirmReset(cmd *cobra.Command, dir string, h agent.Holdings) error {
	out := cmd.ErrOrStderr()
	fmt.Fprintf(out, "The node of %s holds %s.\n", datadir.Shorten(dir), h.Text)
	switch {
	case h.Removed:
		fmt.Fprintf(out, "It was a member of the cluster %q, which has removed it.\n", h.Cluster)
	case h.Cluster != "":
		fmt.Fprintf(out, "It is a member of the cluster %q, which goes on listing it until `picloud node rm` there.\n", h.Cluster)
	}
	if h.OnlyKey {
		fmt.Fprintln(out, "Its cluster.key goes too: without a copy nobody can read the secrets of a backup of its database.")
	}
	if !confirmed(cmd, "Delete all of it?") {
		return &picloud.Error{Code: picloud.CodeInvalid, Op: "reset node", Resource: dir, Detail: "nothing was deleted", Hint: hintYes}
	}
	return nil
}

// hintYes is what to do after a confirmation that was not given.
const hintYes = "type yes, or use --yes"

// confirmed asks a question, and reports whether the answer is yes.
func confirmed(cmd *cobra.Command, question string) bool {
	out := cmd.ErrOrStderr()
	fmt.Fprint(out, question+" Type yes: ")
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	yes := strings.TrimSpace(answer) == "yes"
	if err != nil && !yes {
		fmt.Fprintln(out)
	}
	return yes
}
