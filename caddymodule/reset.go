package caddymodule

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

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
	if h.Cluster != "" {
		fmt.Fprintf(out, "It is a member of the cluster %q, which goes on listing it until `picloud node rm` there.\n", h.Cluster)
	}
	if h.OnlyKey {
		fmt.Fprintln(out, "Its cluster.key goes too: without a copy nobody can read the secrets of a backup of its database.")
	}
	fmt.Fprint(out, "Delete all of it? Type yes: ")
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if strings.TrimSpace(answer) == "yes" {
		return nil
	}
	if err != nil {
		fmt.Fprintln(out)
	}
	return &picloud.Error{Code: picloud.CodeInvalid, Op: "reset node", Resource: dir, Detail: "nothing was deleted", Hint: "type yes, or use --yes"}
}
