package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/executor"
)

// App is the Caddy app of a PiCloud node. Its settings are fixed for the life
// of the process: a reload that changes one is refused, a reload that does not
// leaves the node as it is.
type App struct {
	// Data is the folder that holds everything the node keeps. Default:
	// /var/lib/picloud as root, else ~/.local/share/picloud.
	Data string `json:"data,omitempty"`
	// NodeName names the node for people. Default: the host name.
	NodeName string `json:"node_name,omitempty"`
	// Bind is the address that functions are served on. Default: all.
	Bind string `json:"bind,omitempty"`
	// HTTPPort is the port of functions over HTTP. Default 8080.
	HTTPPort string `json:"http_port,omitempty"`
	// HTTPSPort is the port of functions over HTTPS. Default 8443.
	HTTPSPort string `json:"https_port,omitempty"`
	// AdminPort is the port of the control API. Default 8081.
	AdminPort string `json:"admin_port,omitempty"`
	// LogLevel is the level of the node's own log. Default WARN.
	LogLevel string `json:"log_level,omitempty"`
	// DatabaseURL is a PostgreSQL DSN. Default: a managed server below Data.
	DatabaseURL string `json:"database_url,omitempty"`
	// PostgresBin is the folder of the PostgreSQL binaries for the managed
	// server. Default: the newest found on this machine.
	PostgresBin string `json:"postgres_bin,omitempty"`
	// Executor is the path of the executor binary. Default: picloud-executor
	// beside the running binary.
	Executor string `json:"executor,omitempty"`
	// Sandbox is strict or best_effort. Default: strict on Linux.
	Sandbox string `json:"sandbox,omitempty"`
	// ExecutorIdle is how long an executor without calls stays. Default 1m.
	ExecutorIdle string `json:"executor_idle,omitempty"`
	// ExecutorMemory bounds the sum of the memory limits of all executors.
	// Default: half of the machine's memory.
	ExecutorMemory string `json:"executor_memory,omitempty"`
	// ExecutorWorkers is the most executors of one app. Default: one per core,
	// at most 4.
	ExecutorWorkers string `json:"executor_workers,omitempty"`

	runtime  *runtime
	held     bool // this config holds a reference to the runtime
	handover *handover
}

// CaddyModule returns the module's registration.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "picloud", New: func() caddy.Module { return new(App) }}
}

// Provision takes hold of the process's one runtime. It does no I/O, since
// Caddy provisions to validate a configuration too.
func (a *App) Provision(ctx caddy.Context) error {
	opts, err := a.options()
	if err != nil {
		return err
	}
	opts.Logger = ctx.Slogger()
	a.runtime, err = acquireRuntime(opts)
	if err != nil {
		return err
	}
	a.handover = new(handover)
	a.held = true // only now, for Cleanup runs after a failed Provision too
	if err := a.runtime.sameAs(opts); err != nil {
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

// options reads the settings, placeholders such as {env.X} and {file.X} replaced.
func (a *App) options() (agent.Options, error) {
	repl := caddy.NewReplacer()
	value := func(s string) string { return repl.ReplaceKnown(s, "") }
	opts := agent.Options{
		DataDir:     value(a.Data),
		NodeName:    value(a.NodeName),
		DatabaseURL: value(a.DatabaseURL),
		PostgresBin: value(a.PostgresBin),
		WorkerPath:  value(a.Executor),
		Version:     Version,
	}
	if opts.DataDir == "" {
		opts.DataDir = DefaultDataDir()
	}
	https, own := 8443, new(ownPorts)
	for _, port := range []struct {
		name, text string
		to         *int
	}{
		{"http_port", value(a.HTTPPort), &opts.HTTPPort},
		{"admin_port", value(a.AdminPort), &opts.AdminPort},
		{"https_port", value(a.HTTPSPort), &https},
	} {
		if port.text == "" {
			continue
		}
		n, err := strconv.ParseUint(port.text, 10, 16)
		if err != nil || n == 0 {
			return opts, fmt.Errorf("picloud: %s is %q, not a port between 1 and 65535", port.name, port.text)
		}
		*port.to = int(n)
	}
	opts.Reserved = func(port uint16) bool { return int(port) == https || own.has(port) }
	return a.executorOptions(opts, value)
}

// executorOptions reads the settings of executors.
func (a *App) executorOptions(opts agent.Options, value func(string) string) (agent.Options, error) {
	switch text := value(a.Sandbox); text {
	case "", executor.SandboxStrict, executor.SandboxBestEffort:
		opts.Sandbox = text
	default:
		return opts, fmt.Errorf("picloud: sandbox is %q, neither %s nor %s", text, executor.SandboxStrict, executor.SandboxBestEffort)
	}
	if text := value(a.ExecutorIdle); text != "" {
		idle, err := caddy.ParseDuration(text)
		if err != nil || idle < time.Second || idle > 24*time.Hour {
			return opts, fmt.Errorf("picloud: executor_idle is %q, not a duration between 1s and 24h", text)
		}
		opts.ExecutorIdle = idle
	}
	if text := value(a.ExecutorMemory); text != "" {
		size, err := picloud.ParseSize(text)
		if err != nil || size < picloud.DefaultLimits().Memory {
			return opts, fmt.Errorf("picloud: executor_memory is %q, not a size of at least %s", text, picloud.DefaultLimits().Memory)
		}
		opts.ExecutorMemory = int64(size)
	}
	if text := value(a.ExecutorWorkers); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n < 1 || n > 256 {
			return opts, fmt.Errorf("picloud: executor_workers is %q, not a number between 1 and 256", text)
		}
		opts.ExecutorWorkers = int(n)
	}
	return opts, nil
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
func (l leaving) Handle(context.Context, caddy.Event) error {
	if caddy.Exiting() {
		l.app.runtime.agent.BeginDrain()
		return nil
	}
	l.app.handover.begin()
	return nil
}

// Interface guards.
var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddy.CleanerUpper  = (*App)(nil)
	_ caddyevents.Handler = leaving{}
)
