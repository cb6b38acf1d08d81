// Package manager holds the duties of the cluster's manager: it turns scripts
// into versions that nodes serve, tries drafts, and hands out API tokens. It
// knows the database, the executors and the fleet only through the small
// interfaces of store.go; manager/api puts it on the wire.
package manager

import (
	"cmp"
	"errors"
	"log/slog"
	"time"
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
	Catalog     Catalog

	// Sealer seals secrets. Default: none, and no secret can be set.
	Sealer Sealer
	// AwaitTimeout bounds the wait for nodes after a deploy is committed. The
	// deploy stands whatever happens in it. Default 5 s.
	AwaitTimeout time.Duration
	// Logger gets what no caller can be told any more. Default: discarded.
	Logger *slog.Logger
}

// Manager is safe for concurrent use. It owns no goroutine.
type Manager struct {
	o   Options
	log *slog.Logger
}

// New returns a Manager, or an error that names what is missing.
func New(o Options) (*Manager, error) {
	for name, missing := range map[string]bool{
		"Apps": o.Apps == nil, "Functions": o.Functions == nil, "Versions": o.Versions == nil, "Deployments": o.Deployments == nil,
		"Users": o.Users == nil, "Secrets": o.Secrets == nil, "Compiler": o.Compiler == nil, "Drafter": o.Drafter == nil, "Fleet": o.Fleet == nil, "Catalog": o.Catalog == nil,
	} {
		if missing {
			return nil, errors.New("new manager: Options." + name + " is nil")
		}
	}
	if o.Sealer == nil {
		o.Sealer = noSealer{}
	}
	o.AwaitTimeout = cmp.Or(o.AwaitTimeout, DefaultAwaitTimeout)
	return &Manager{o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler))}, nil
}
