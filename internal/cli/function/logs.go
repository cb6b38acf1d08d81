package function

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/command"
	"github.com/picloud/picloud/internal/cli/failure"
	"github.com/picloud/picloud/internal/cli/output"
	"github.com/picloud/picloud/manager/api/client"
)

// logFlags are the flags of `picloud logs` and `picloud tail`.
type logFlags struct {
	follow, calls      bool
	since, level, call string
	tail               int
}

func (c commands) logsCommand() *cobra.Command {
	f := logFlags{tail: 100}
	cmd := &cobra.Command{
		Use:   "logs [FUNCTION…]",
		Short: "Show what functions logged",
		Long: "Show what functions of the app logged, oldest first; without a name, all of them.\n" +
			"With --calls, also show the calls: method, path, status, time. A node remembers the newest 1,000\n" +
			"calls of each function, until it restarts; it keeps 16 MB of logs for each app.\n" +
			"With -f, go on with what comes, until Ctrl-C. A lost connection is taken up again where it broke off.\n" +
			"Nothing is left out silently: a line says how many records are missing where some are.\n" +
			"In a cluster the lines are those of all nodes, and each names its node after the level. A node that does\n" +
			"not answer within 2 s is named.\n" +
			"After # stands the end of the call's id, which --call takes; a caller finds the id in X-Call-Id.\n" +
			"-o json prints one record per line with -f, and a call as {\"call\": …}.",
		Example: "  picloud logs hello --since 1d\n  picloud logs -f --calls\n  picloud logs --level warn\n" +
			"  picloud logs --call 00003f --calls",
		Args:              command.Args(0, 50),
		ValidArgsFunction: c.CompleteMoreFunctions,
		RunE:              func(cmd *cobra.Command, names []string) error { return c.logs(cmd, names, &f) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with new lines as they come")
	cmd.Flags().BoolVar(&f.calls, "calls", false, "also show calls")
	f.add(cmd)
	return cmd
}

func (c commands) tailCommand() *cobra.Command {
	f := logFlags{tail: 10, follow: true, calls: true}
	cmd := &cobra.Command{
		Use:   "tail [FUNCTION…]",
		Short: "Show calls and log lines as they come",
		Long: "Show the calls of the app's functions, and what they log, as they come, until Ctrl-C.\n" +
			"Short for: picloud logs -f --calls --tail 10",
		Example:           "  picloud tail\n  picloud tail hello --level warn",
		Args:              command.Args(0, 50),
		ValidArgsFunction: c.CompleteMoreFunctions,
		RunE:              func(cmd *cobra.Command, names []string) error { return c.logs(cmd, names, &f) },
	}
	cmd.Flags().SortFlags = false
	f.add(cmd)
	return cmd
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.tail, "tail", f.tail, "at most this many of the newest lines, 0 to 1000: a node gives no more at once")
	cmd.Flags().StringVar(&f.since, "since", "", "only from then on: 15m or 1d (back from now), or 2026-01-02T15:04:05Z")
	cmd.Flags().StringVar(&f.level, "level", "", "only this level and above: debug, info, warn or error; of calls, 4xx is warn")
	cmd.Flags().StringVar(&f.call, "call", "", "only the call with this id, or whose id ends so")
}

func (f *logFlags) check(cmd *cobra.Command) error {
	if f.tail < 0 || f.tail > maxTail {
		return failure.Usagef(cmd, "--tail is 0 to %d, for a node gives no more at once; --since, --level and --call narrow the choice down", maxTail)
	}
	if f.since != "" {
		since, err := parseSince(f.since)
		if err != nil {
			return failure.Usagef(cmd, "--since %q %v", f.since, err)
		}
		f.since = since
	}
	f.call = strings.TrimPrefix(f.call, "#")
	if f.call != "" && len(f.call) < 4 {
		return failure.Usagef(cmd, "--call is the id of a call, or the last 4 characters of it or more")
	}
	if f.level != "" && !slices.Contains(picloud.LogLevels, f.level) {
		return failure.Usagef(cmd, "--level is one of %s", strings.Join(picloud.LogLevels, ", "))
	}
	return nil
}

// parseSince writes --since as the control API takes it. Times without a zone are those
// of this machine, which lines of the log begin with.
func parseSince(text string) (string, error) {
	if d, err := picloud.ParseDuration(text); err == nil && d >= 0 {
		return text, nil
	}
	if _, err := time.Parse(time.RFC3339, text); err == nil {
		return text, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return at.Format(time.RFC3339Nano), nil
		}
	}
	return "", errors.New("is neither a duration such as 15m or 1d nor a time such as 2026-01-02T15:04:05Z or 2026-01-02 15:04")
}

func (c commands) logs(cmd *cobra.Command, names []string, f *logFlags) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	for _, name := range names {
		if err := picloud.CheckName("function", name); err != nil {
			return failure.Usagef(cmd, "%q is not a function's name", picloud.Shorten(name, 80))
		}
	}
	node, err := c.Connect()
	if err != nil {
		return err
	}
	functions := strings.Join(names, ",")
	l := follower{c: c, node: node, app: c.App, functions: names, params: client.GetAppLogsParams{
		Functions: &functions, Tail: &f.tail, Follow: &f.follow, Calls: &f.calls, Since: &f.since, Level: &f.level, Call: &f.call,
	}}
	if f.follow {
		return l.follow(cmd.Context())
	}
	asked := cmd.Flags().Changed("tail")
	l.cut = f.tail > 0 && (!asked || f.tail == maxTail || f.since != "" || f.call != "")
	return l.list(cmd.Context())
}

// list prints what there is now.
func (f *follower) list(ctx context.Context) error {
	logs, err := command.Ask(ctx, f.node, readLogs, f.resource(), func(ctx context.Context, node *command.Node) (client.LogList, error) {
		return client.Read[client.LogList](node.GetAppLogs(ctx, f.app, &f.params))
	})
	if err != nil {
		return f.missing(err)
	}
	if logs.Items == nil {
		logs.Items = []client.LogRecord{}
	}
	f.several = len(logs.Nodes) > 1
	for _, node := range logs.Unanswered {
		f.c.Warnf("%s did not answer: what it logged is not shown", node)
	}
	var document any = logs.Items
	if *f.params.Calls {
		document = logs
	}
	lines := f.merged(logs)
	if f.cut && len(lines) == *f.params.Tail {
		f.c.Notef("picloud: the newest %s; there may be earlier ones that match: --tail takes up to %d", output.Plural(len(lines), "line"), maxTail)
	}
	return f.c.Print(document, func() {
		for _, line := range lines {
			f.c.Printf("%s\n", line)
		}
		if len(lines) == 0 {
			f.c.Notef("picloud: no lines%s", f.nothing())
		}
	})
}

// merged are the lines of records and calls in the order of time, the newest only.
func (f *follower) merged(logs client.LogList) []string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, r := range logs.Items {
		lines = append(lines, line{r.Time, f.line(r)})
	}
	for _, i := range logs.Calls {
		lines = append(lines, line{i.Ended(), f.callLine(i)})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	out := []string{}
	for _, l := range lines[max(0, len(lines)-*f.params.Tail):] {
		out = append(out, l.text)
	}
	return out
}

// nothing says why there may be none.
func (f *follower) nothing() string {
	for _, narrow := range []*string{f.params.Since, f.params.Level, f.params.Call} {
		if *narrow != "" {
			return " that match"
		}
	}
	if *f.params.Tail == 0 || *f.params.Calls {
		return ""
	}
	return ": " + f.resource() + " logged nothing; --calls shows calls"
}
