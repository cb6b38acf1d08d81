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

// Options are what a Manager works with. All but the last two are required.
type Options struct {
	Apps        Apps
	Functions   Functions
	Versions    Versions
	Deployments Deployments
	Users       Users
	Compiler    Compiler
	Drafter     Drafter
	Fleet       Fleet

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
		"Users": o.Users == nil, "Compiler": o.Compiler == nil, "Drafter": o.Drafter == nil, "Fleet": o.Fleet == nil,
	} {
		if missing {
			return nil, errors.New("new manager: Options." + name + " is nil")
		}
	}
	o.AwaitTimeout = cmp.Or(o.AwaitTimeout, DefaultAwaitTimeout)
	return &Manager{o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler))}, nil
}
