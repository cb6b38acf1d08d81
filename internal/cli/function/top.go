package function

import (
	"context"
	"fmt"
	"io"
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

// topOrders are what --sort takes, the default first.
var topOrders = []string{"calls", "errors", "p99", "running", "name"}

// maxTopRows is the most that --rows takes.
const maxTopRows = 200

func (c commands) topCommand() *cobra.Command {
	var window time.Duration
	var order string
	var rows int
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what functions and nodes do now, of all nodes together",
		Long: "Show what functions and nodes do now, of all nodes together: calls and errors (5xx) a second, how long calls\n" +
			"took, how many run and wait. Only functions that do something are listed; those of all apps, or with --app of\n" +
			"one. Nodes are shown to cluster admins. A node that does not answer is named.\n" +
			"On a terminal the figures go on until Ctrl-C. Else, with --once, or with -o json, they are printed once.",
		Example: "  picloud top\n  picloud top --app shop --sort p99\n  picloud top -o json --window 5s",
		Args:    command.Args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if window < 100*time.Millisecond || window > 10*time.Second {
				return failure.Usagef(cmd, "--window is 100ms to 10s")
			}
			if !slices.Contains(topOrders, order) {
				return failure.Usagef(cmd, "--sort is one of %s", strings.Join(topOrders, ", "))
			}
			if rows < 1 || rows > maxTopRows {
				return failure.Usagef(cmd, "--rows is 1 to %d", maxTopRows)
			}
			text := window.String()
			params := client.GetTopParams{Window: &text, Sort: &order, Limit: &rows}
			if cmd.Flags().Changed("app") {
				params.App = &c.App
			}
			return c.top(cmd, params, !once && c.ForPeople() && output.Terminal(c.Stdout))
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&order, "sort", topOrders[0], "the order: "+strings.Join(topOrders, ", "))
	cmd.Flags().IntVar(&rows, "rows", 20, fmt.Sprintf("at most this many functions, 1 to %d", maxTopRows))
	cmd.Flags().DurationVar(&window, "window", 2*time.Second, "for how long to count, 100ms to 10s")
	cmd.Flags().BoolVar(&once, "once", false, "print the figures once, also on a terminal")
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(topOrders, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// top prints the figures once, or again and again until the person has seen enough.
func (c commands) top(cmd *cobra.Command, params client.GetTopParams, again bool) error {
	node, err := c.Connect()
	if err != nil {
		return err
	}
	for shown := false; ; shown = true {
		found, err := command.Ask(cmd.Context(), node, "show top", "", func(ctx context.Context, node *command.Node) (client.Top, error) {
			return client.Read[client.Top](node.GetTop(ctx, &params))
		})
		if shown && cmd.Context().Err() != nil {
			return nil // Ctrl-C
		}
		if err != nil && params.App != nil {
			err = failure.NoApp(err, *params.App)
		}
		if err != nil {
			return err
		}
		if again {
			_, _ = io.WriteString(c.Stdout, "\x1b[H\x1b[2J") // home, clear; an error shows with the next line
			c.Printf("%s, over %s; Ctrl-C ends\n\n", c.Now().Format(time.TimeOnly), time.Duration(found.Window))
		}
		err = c.Print(found, func() { c.printTop(found) })
		for _, name := range found.Unanswered {
			c.Warnf("%s did not answer: what it does is not in the figures", name)
		}
		if err != nil || !again {
			return err
		}
	}
}

func (c commands) printTop(found client.Top) {
	rows := make([][]string, 0, len(found.Functions))
	for _, f := range found.Functions {
		rows = append(rows, []string{
			f.App + "/" + f.Function, perSecond(f.Calls), perSecond(f.Errors), brief(f.P50), brief(f.P99), brief(f.Mean),
			fmt.Sprint(f.Running), fmt.Sprint(f.Waiting),
		})
	}
	if len(rows) == 0 {
		c.Printf("no function was called, and none runs\n")
	} else {
		c.Table("FUNCTION CALLS/S ERRORS/S P50 P99 MEAN RUNNING WAITING", rows)
	}
	if found.More > 0 {
		c.Printf("and %d more: --rows shows up to %d\n", found.More, maxTopRows)
	}
	if len(found.Nodes) == 0 {
		return
	}
	nodes := make([][]string, 0, len(found.Nodes))
	for _, n := range found.Nodes {
		nodes = append(nodes, []string{
			n.Name, fmt.Sprintf("%.2f/%d", n.Load, n.Cores), brieferSize(n.Available) + "/" + brieferSize(n.Memory),
			fmt.Sprint(n.Executors), brieferSize(n.Reserved), fmt.Sprint(n.Running),
		})
	}
	c.Printf("\n")
	c.Table("NODE LOAD/CORES FREE/MEMORY EXECUTORS RESERVED CALLS", nodes)
}

// perSecond writes a rate.
func perSecond(rate float64) string {
	if rate >= 100 || rate == 0 {
		return fmt.Sprintf("%.0f", rate)
	}
	return fmt.Sprintf("%.1f", rate)
}

// brief writes how long something took with three digits or so.
func brief(d picloud.Duration) string {
	switch took := time.Duration(d); {
	case took == 0:
		return "-"
	case took < 10*time.Millisecond:
		return took.Round(10 * time.Microsecond).String()
	case took < time.Second:
		return took.Round(time.Millisecond).String()
	default:
		return took.Round(10 * time.Millisecond).String()
	}
}

// brieferSize writes memory in MiB, or "-" if it is not known.
func brieferSize(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%dMiB", bytes>>20)
}
