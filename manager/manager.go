// Package manager holds the duties of the cluster's manager: it turns scripts
// into versions that nodes serve, tries drafts, and hands out API tokens. It
// knows the database, the executors and the fleet only through the small
// interfaces of store.go; manager/api puts it on the wire.
package manager

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/picloud/picloud/internal/wiring"
)

// DefaultAwaitTimeout is how long a deploy waits for nodes to serve it.
const DefaultAwaitTimeout = 5 * time.Second

// Options are what a Manager works with. Those without a default are required.
type Options struct {
	Apps        Apps
	Functions   Functions
	Versions    Versions
	Deployments Deployments
	Users       Users
	Secrets     Secrets
	Compiler    Compiler
	Drafter     Drafter
	Fleet       Fleet

	// Sealer seals secrets. Default: none, and no secret can be set.
	Sealer Sealer `default:"none"`
	// AwaitTimeout bounds the wait for nodes after a deploy is committed. The
	// deploy stands whatever happens in it. Default 5 s.
	AwaitTimeout time.Duration
	// Logger gets what no caller can be told any more. Default: discarded.
	Logger *slog.Logger `default:"discarded"`
}

// Manager is safe for concurrent use. It owns no goroutine.
type Manager struct {
	o   Options
	log *slog.Logger
}

// New returns a Manager, or an error that names what is missing.
func New(o Options) (*Manager, error) {
	if err := wiring.Check("new manager", o); err != nil {
		return nil, err
	}
	if o.Sealer == nil {
		o.Sealer = noSealer{}
	}
	o.AwaitTimeout = cmp.Or(o.AwaitTimeout, DefaultAwaitTimeout)
	return &Manager{o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler))}, nil
}
