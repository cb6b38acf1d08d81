package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/local"
)

// restoreTimeout bounds a restore: making the database of a large dump takes minutes on a card.
const restoreTimeout = time.Hour

func databaseCommand(opts Options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "database",
		Short: "Show what a dead board would cost the database, and bring it up on another node",
	}
	cmd.AddCommand(databaseStatusCommand(opts), databaseDumpCommand(opts), databaseRestoreCommand(opts))
	return cmd
}

// options are those of the node that these flags name.
func (w whichNode) options(opts Options) (agent.Options, error) {
	env := readEnvironment(opts.Getenv)
	env.own(opts.Getenv)
	dir, _, err := w.folder(env)
	if err != nil {
		return agent.Options{}, err
	}
	env.values["data"] = dir
	conf, err := env.configure(w.config)
	if err != nil {
		return agent.Options{}, err
	}
	app := App{texts: conf.home.texts}
	s, err := app.settings()
	if err != nil {
		return agent.Options{}, err
	}
	s.DataDir, s.Version, s.Logger = dir, opts.Version, slog.New(slog.DiscardHandler)
	return s.Options, nil
}

func databaseStatusCommand(opts Options) *cobra.Command {
	var which whichNode
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show where the database is, which nodes keep a dump of it, and what would be lost",
		Long: "Show where the cluster's database is, whether it answers, which nodes keep a dump of it,\n" +
			"and what would be lost if its board died now. It needs no API token, no manager and no\n" +
			"database: it asks the other nodes as the node of this machine.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := which.options(opts)
			if err != nil {
				return err
			}
			s, err := agent.SurveyDatabase(cmd.Context(), o)
			if err != nil {
				return err
			}
			if forPrograms(cmd) {
				return writeJSON(cmd.OutOrStdout(), s)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), describeSurvey(s, time.Now()))
			return err
		},
	}
	which.addTo(cmd)
	return cmd
}

func databaseDumpCommand(opts Options) *cobra.Command {
	var which whichNode
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Give other nodes a dump of the database now, and not only in time",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := which.options(opts)
			if err != nil {
				return err
			}
			begun := time.Now()
			m, err := agent.DumpDatabase(cmd.Context(), o)
			if err != nil {
				return err
			}
			if forPrograms(cmd) {
				return writeJSON(cmd.OutOrStdout(), m)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "revision %d, %s, is kept on another node after %s\n", m.Revision, bytesText(m.Size), time.Since(begun).Round(10*time.Millisecond))
			return err
		},
	}
	which.addTo(cmd)
	return cmd
}

func databaseRestoreCommand(opts Options) *cobra.Command {
	var which whichNode
	var from string
	var force, yes bool
	cmd := &cobra.Command{
		Use:   "restore --from NODE",
		Short: "Bring the cluster's database up on this machine's node, from a dump that a node keeps",
		Long: "Bring the database up on the node of this machine when the board that ran it is lost. The\n" +
			"dump comes from the node that --from names, which may be this one. The database is made\n" +
			"beside the running node; then the node is stopped, and its next start runs the database.\n" +
			"The other nodes follow by themselves. The node that ran it before is a member no more:\n" +
			"when it comes back, `picloud node reset` and an invitation bring it in again.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" {
				return &picloud.Error{Code: picloud.CodeInvalid, Op: "restore database", Detail: "--from is missing", Hint: "`picloud database status` lists the nodes that keep a dump"}
			}
			o, err := which.options(opts)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), restoreTimeout)
			defer cancel()
			return restoreDatabase(ctx, cmd, o, from, force, yes)
		},
	}
	which.addTo(cmd)
	cmd.Flags().StringVar(&from, "from", "", "name of the node whose newest dump is taken")
	cmd.Flags().BoolVar(&force, "force", false, "also while the database answers: what it has beyond the dump is lost")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func restoreDatabase(ctx context.Context, cmd *cobra.Command, o agent.Options, from string, force, yes bool) (err error) {
	r, err := agent.PlanRestore(ctx, o, from, force)
	if err != nil {
		return err
	}
	out := cmd.ErrOrStderr()
	fmt.Fprint(out, describeRestore(r, time.Now()))
	if !yes {
		if !confirmed(cmd, "Go on?") {
			return &picloud.Error{Code: picloud.CodeInvalid, Op: "restore database", Detail: "nothing was changed", Hint: hintYes}
		}
	}
	begun := time.Now()
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.Prepare(ctx); err != nil {
		return err
	}
	fmt.Fprintf(out, "The database is made of the dump, after %s.\n", time.Since(begun).Round(10*time.Millisecond))
	lock, stopped, err := takeFolder(ctx, o.DataDir)
	if err != nil {
		return err
	}
	defer lock.Release()
	if stopped {
		fmt.Fprintln(out, "The node has stopped.")
	}
	if err := r.Take(ctx, lock); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "the database of cluster %q is on %s, at revision %d, after %s; start the node again: it runs the database then\n",
		r.Cluster, r.Node, r.Made(), time.Since(begun).Round(10*time.Millisecond))
	return err
}

// takeFolder stops the node of a data folder, if one runs, and takes the folder's lock.
func takeFolder(ctx context.Context, dir string) (lock *datadir.Lock, stopped bool, err error) {
	stopping, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	_, err = local.Stop(stopping, dir)
	if away := (*local.Away)(nil); err != nil && !errors.As(err, &away) {
		return nil, false, err
	}
	stopped = err == nil
	lock, err = datadir.Acquire(dir)
	return lock, stopped, err
}

// describeSurvey shows where the database is, and what its board's death would cost.
func describeSurvey(s agent.Survey, now time.Time) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	if s.Elsewhere {
		row("database", "elsewhere, at the DSN of the nodes")
		row("dumps", "none: its backups are those of whoever runs it")
		return b.String()
	}
	state := "does not answer"
	if s.Answers {
		state = fmt.Sprintf("answers since %s; %s, PostgreSQL %s", moment(s.Since, now), bytesText(s.Size), s.Postgres)
	}
	row("database", "on %s, %s", s.Host, state)
	row("revision", "%d", s.Revision)
	if s.Cluster == "" {
		row("dumps", "none: this node is alone, and nobody else can keep one")
		fmt.Fprintf(&b, "If %s died for good, all of it would be lost. Keep a backup: docs/operate.md.\n", s.Host)
		return b.String()
	}
	every := "every " + hours(s.Every)
	if s.Every < 0 {
		every = "by hand only"
	}
	row("dumps", "%s", every)
	for _, d := range s.Dumps {
		row("", "%s: %s, revision %d, %s", d.Node, moment(d.TakenAt, now), d.Revision, bytesText(d.Size))
	}
	if len(s.Silent) > 0 {
		row("silent", "%s", strings.Join(s.Silent, ", "))
	}
	b.WriteString(lost(s, now))
	return b.String()
}

// lost says what the death of the database's board would cost, or has cost.
func lost(s agent.Survey, now time.Time) string {
	var best *agent.KeptDump
	for i, d := range s.Dumps {
		if d.Node != s.Host { // what lies on that board goes with it
			best = &s.Dumps[i]
			break
		}
	}
	begin := "If " + s.Host + " died now: "
	if !s.Answers {
		begin = "If " + s.Host + " does not come back: "
	}
	if best == nil {
		return begin + "all of the database would be lost, for no other node that answers keeps a dump.\n"
	}
	return begin + since(best.Revision, s.Revision, best.TakenAt, now) + " would be lost, key-value writes included.\n" +
		"To bring it up on this node: picloud database restore --from " + best.Node + "\n"
}

// since names what came after a dump.
func since(from, to int64, at, now time.Time) string {
	if to > from {
		return fmt.Sprintf("what was changed since %s (revision %d to %d)", moment(at, now), from, to)
	}
	return fmt.Sprintf("what was written since %s (no deploy or setting: revision %d)", moment(at, now), from)
}

// describeRestore says what a restore does and loses.
func describeRestore(r *agent.Restore, now time.Time) string {
	var b strings.Builder
	state := "does not answer"
	if r.Answers {
		state = "ANSWERS, and goes on with a history of its own until it hears of this"
	}
	fmt.Fprintf(&b, "The database of cluster %q moves from %s, which %s, to %s.\n", r.Cluster, r.Host, state, r.Node)
	fmt.Fprintf(&b, "It is made of the dump on %s: %s, revision %d, %s, PostgreSQL %s.\n", r.From.Node, moment(r.From.TakenAt, now), r.From.Revision, bytesText(r.From.Size), r.From.Postgres)
	fmt.Fprintf(&b, "Lost is %s, key-value writes included.\n", since(r.From.Revision, max(r.Revision, r.From.Revision), r.From.TakenAt, now))
	b.WriteString("Users, tokens and members of apps are those of that time: take back again what was taken back since. Invitations are void.\n")
	if r.Better != nil {
		fmt.Fprintf(&b, "A NEWER DUMP is on %s: revision %d, %s.\n", r.Better.Node, r.Better.Revision, moment(r.Better.TakenAt, now))
	}
	if r.Host != r.Node {
		fmt.Fprintf(&b, "%s is a member no more: when it comes back, `picloud node reset` there and an invitation bring it in.\n", r.Host)
	}
	if len(r.Silent) > 0 {
		fmt.Fprintf(&b, "Not reached: %s.\n", strings.Join(r.Silent, ", "))
	}
	if r.Aside != "" {
		fmt.Fprintf(&b, "The older database of this node is put aside: %s.\n", datadir.Shorten(r.Aside))
	}
	b.WriteString("This node is stopped at the end. Its next start runs the database.\n")
	return b.String()
}

// hours is a duration without the parts that are zero.
func hours(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// moment is a time for people: that of the day, with the date unless it is today.
func moment(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04")
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) + " GB"
	case n >= 1<<20:
		return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MB"
	}
	return strconv.FormatInt((n+1023)>>10, 10) + " kB"
}
