package agent

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/seal"
)

// Banner is what `picloud run` prints once the node serves.
func (a *Agent) Banner(took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "PiCloud node %s ready in %.1f s    functions %s/fn/…    control %s\n",
		a.opts.NodeName, took.Seconds(), a.opts.FunctionsURL(), a.opts.ControlURL())
	fmt.Fprintf(&b, "database: %s", a.describeDatabase())
	if path := a.credentials.Load(); path != nil {
		fmt.Fprintf(&b, "          first-run admin token saved to %s (0600)", datadir.Shorten(*path))
	}
	b.WriteByte('\n')
	switch made, trouble := a.vault.State(); {
	case trouble != nil:
		fmt.Fprintf(&b, "secrets:  not available on this node; `picloud doctor` says what to do\n")
	case made:
		fmt.Fprintf(&b, "secrets:  sealed with %s; keep a copy of it elsewhere: without it nobody can read them\n", datadir.Shorten(seal.Path(a.opts.DataDir)))
	}
	return b.String()
}

func (a *Agent) describeDatabase() string {
	a.mu.Lock()
	d := a.database
	a.mu.Unlock()
	switch {
	case d == nil:
		return "none"
	case d.closed() != nil:
		return "not reached yet; serving the copy on disk"
	case d.server != nil:
		return fmt.Sprintf("managed PostgreSQL %s in %s", d.server.Version(), datadir.Shorten(filepath.Join(a.opts.DataDir, "postgres")))
	default:
		return "PostgreSQL at the configured DSN"
	}
}

// Waiting says what keeps the node from being ready, for people.
func (a *Agent) Waiting() string {
	a.mu.Lock()
	d := a.database
	a.mu.Unlock()
	if d != nil {
		if err := d.closed(); err != nil {
			return err.Error()
		}
	}
	return "loading the catalog"
}

// DatabaseSettled says that the database is reached, or that an attempt failed.
func (a *Agent) DatabaseSettled() bool {
	a.mu.Lock()
	d := a.database
	a.mu.Unlock()
	if d == nil || d.open.Load() {
		return d != nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting != nil
}
