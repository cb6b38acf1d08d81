package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud/caddymodule/ownport"
)

// App is the Caddy app of a PiCloud node. Its JSON has a field per setting, see
// table; all are strings, and placeholders such as {env.X} and {file.X} are
// replaced.
type App struct {
	texts texts

	runtime  *runtime
	held     bool // this configuration holds a reference to the runtime
	handover *handover
}

// MarshalJSON writes the settings that are set.
func (a App) MarshalJSON() ([]byte, error) {
	set := texts{}
	for name, text := range a.texts {
		if text != "" {
			set[name] = text
		}
	}
	return json.Marshal(set)
}

// UnmarshalJSON reads the settings, and refuses fields that are not settings.
func (a *App) UnmarshalJSON(b []byte) error {
	var t texts
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	for name := range t {
		if _, err := settingNamed(name); err != nil {
			return err
		}
	}
	a.texts = t
	return nil
}

// CaddyModule returns the module's registration.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "picloud", New: func() caddy.Module { return new(App) }}
}

// Provision takes hold of the process's one runtime. It does no I/O, since
// Caddy provisions to validate a configuration too.
func (a *App) Provision(ctx caddy.Context) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	s.Logger = ctx.Slogger()
	a.runtime, err = acquireRuntime(s)
	if err != nil {
		return err
	}
	a.handover = new(handover)
	a.held = true // only now, for Cleanup runs after a failed Provision too
	if err := a.runtime.accepts(s); err != nil {
		return err
	}
	for _, c := range a.runtime.agent.Collectors() {
		var twice prometheus.AlreadyRegisteredError
		if err := ctx.GetMetricsRegistry().Register(c); err != nil && !errors.As(err, &twice) {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("find event app: %w", err)
	}
	return events.(*caddyevents.App).On("stopping", leaving{a})
}

// settings reads the settings, and completes them by what no setting says.
func (a *App) settings() (settings, error) {
	s, err := a.texts.read()
	if err != nil {
		return s, err
	}
	if s.DataDir == "" {
		s.DataDir = launched.Load().dataDir()
	}
	s.ClusterBind = s.Bind
	https, own := s.HTTPSPort, &ownport.Ports{Known: sockets.has}
	s.Reserved = func(port uint16) bool { return int(port) == https || own.Has(port) }
	return s, nil
}

// Start brings the node up, the first time; a reload finds it running.
func (a *App) Start() error { return a.runtime.agent.Start() }

// Stop leaves the node running: on a reload the next config has it already, and
// on exit Cleanup gives back the last reference.
func (a *App) Stop() error { return nil }

// Cleanup gives back the reference; the last one stops the node.
func (a *App) Cleanup() error {
	if !a.held {
		return nil
	}
	a.held = false
	return releaseRuntime()
}

// leaving handles the event that comes before any app of a config is stopped.
type leaving struct{ app *App }

// Handle implements caddyevents.Handler. When the process ends, the node drains:
// long answers end, and the HTTP app does not wait for them. On a reload the
// next config takes over the connections.
func (l leaving) Handle(ctx context.Context, _ caddy.Event) error {
	if caddy.Exiting() {
		l.app.runtime.agent.BeginDrain()
		return nil
	}
	l.app.handover.begin(ctx)
	return nil
}

// Interface guards.
var (
	_ caddy.App           = (*App)(nil)
	_ json.Marshaler      = App{}
	_ json.Unmarshaler    = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddy.CleanerUpper  = (*App)(nil)
	_ caddyevents.Handler = leaving{}
)
