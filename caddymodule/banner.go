package caddymodule

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

const (
	// databasePatience is how long the first screen waits for a node that serves
	// from disk to reach its database, so that the screen does not describe the
	// first milliseconds.
	databasePatience = 3 * time.Second
	// waitingInterval is how often a start that takes long says why.
	waitingInterval = 5 * time.Second
)

// announce tells people that the node is ready, or what it waits for. An error
// means that waiting will not help.
func announce(ctx context.Context, out io.Writer, node *agent.Agent, begun time.Time) error {
	wait := time.NewTicker(waitingInterval)
	defer wait.Stop()
	said := ""
	for {
		select {
		case <-node.Ready():
			took := time.Since(begun)
			awaitDatabase(ctx, node)
			_, err := io.WriteString(out, banner(node.Status(), took))
			return err
		case err := <-node.Fatal():
			return err
		case <-wait.C:
			status := node.Status()
			if why := waiting(status); why != said {
				said = why
				fmt.Fprintf(out, "PiCloud node %s waits: %s\n", status.NodeName, why)
			}
		}
	}
}

// awaitDatabase waits until the node knows whether it reaches its database, for
// databasePatience at most.
func awaitDatabase(ctx context.Context, node *agent.Agent) {
	ctx, cancel := context.WithTimeout(ctx, databasePatience)
	defer cancel()
	select {
	case <-node.DatabaseSettled():
	case <-ctx.Done():
	}
}

// banner is the first screen of `picloud run`: the node serves.
func banner(s agent.Status, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "PiCloud node %s ready in %.1f s    functions %s/fn/…    control %s\n", s.NodeName, took.Seconds(), s.FunctionsURL, s.ControlURL)
	fmt.Fprintf(&b, "database: %s", describeDatabase(s.Database))
	if s.Credentials != "" {
		fmt.Fprintf(&b, "          first-run admin token saved to %s (0600)", datadir.Shorten(s.Credentials))
	}
	b.WriteByte('\n')
	if s.Memory.Agent > 0 {
		fmt.Fprintf(&b, "memory:   %s\n", s.Memory)
	}
	switch {
	case s.Secrets != nil:
		fmt.Fprintf(&b, "secrets:  not available on this node; `picloud doctor` says what to do\n")
	case s.ClusterKey != "":
		fmt.Fprintf(&b, "secrets:  sealed with %s; keep a copy of it elsewhere: without it nobody can read them\n", datadir.Shorten(s.ClusterKey))
	}
	return b.String()
}

func describeDatabase(d *agent.DatabaseStatus) string {
	switch {
	case d == nil:
		return "none"
	case d.Err != nil:
		return "not reached yet; serving the copy on disk"
	case d.Folder != "":
		return fmt.Sprintf("managed PostgreSQL %s in %s", d.Version, datadir.Shorten(d.Folder))
	default:
		return "PostgreSQL at the configured DSN"
	}
}

// waiting says what keeps the node from being ready.
func waiting(s agent.Status) string {
	if s.Database != nil && s.Database.Err != nil {
		return s.Database.Err.Error()
	}
	return "loading the catalog"
}
