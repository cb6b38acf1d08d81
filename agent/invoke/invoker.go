// Package invoke makes calls of functions on this node, whoever asks: an HTTP
// request, a draft, and later events, schedules and other nodes. It is the one
// place where a program is assembled, and where a call gets its id, its metrics,
// its record and its line in the log.
package invoke

import (
	"log/slog"
	"maps"
	"sync/atomic"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/trigger"
	"github.com/picloud/picloud/internal/redact"
)

// Options are what an Invoker works with. All are required.
type Options struct {
	// Logs takes what ended calls from outside: limits and crashes.
	Logs executor.LogSink
	// Secrets are hidden in records and errors.
	Secrets *redact.Secrets
	// Grants returns what a function may ask of its node, which the executor hands
	// to its Host with each host call.
	Grants func(function string, settings picloud.Settings, app picloud.AppConfig) any
	// Node is the name of this node, for records.
	Node string
	// Logger takes failures that are the node's own.
	Logger *slog.Logger
}

// Invoker makes the functions of one node. It is safe for concurrent use.
type Invoker struct {
	opts     Options
	executor *executor.Executor
	ids      *ids
	rings    Rings
	failures failures
	metrics  *metrics
	stale    atomic.Pointer[Staleness] // nil: the node's copy of the catalog is current
}

// New returns an Invoker. UseExecutor comes before the first function.
func New(opts Options) *Invoker {
	return &Invoker{opts: opts, ids: newIDs(), failures: failures{log: opts.Logger}, metrics: newMetrics()}
}

// UseExecutor sets what runs the functions.
func (i *Invoker) UseExecutor(e *executor.Executor) { i.executor = e }

// NewID returns an id for a call that no function is there for.
func (i *Invoker) NewID() string { return i.ids.id() }

// Records returns the records of finished calls.
func (i *Invoker) Records() *Rings { return &i.rings }

// Function returns the handle of a function as its route, its app and the node
// are configured. It starts nothing.
func (i *Invoker) Function(r picloud.Route, source []byte, app picloud.AppConfig, node picloud.Limits) *Function {
	p := i.program(r.Function, r.Settings, source, app, node)
	p.Version, p.Digest = r.Version, r.Digest
	return &Function{
		Route: r, Limits: p.Limits, invoker: i, handle: i.executor.Function(p),
		series: i.metrics.of(r.Key(), trigger.HTTP), ring: i.rings.of(r.Key()),
	}
}

// program assembles what an executor runs.
func (i *Invoker) program(function string, s picloud.Settings, source []byte, app picloud.AppConfig, node picloud.Limits) executor.Program {
	return executor.Program{
		App: app.App, Function: function, Source: source,
		Limits: s.Limits.Or(app.Settings.Limits).Or(node).WithDefaults(),
		Shared: Shared(s, app),
		Env:    merged(app.Env, s.Env),
		Grants: i.opts.Grants(function, s, app),
	}
}

// Shared reports whether the concurrency of a function counts over all nodes: somebody has
// set it for the function or its app. What a node sets, or the built-in default, protects
// that node.
func Shared(s picloud.Settings, app picloud.AppConfig) bool {
	return s.Limits.Or(app.Settings.Limits).Concurrency != 0
}

// merged are the variables of a function: its own before its app's.
func merged(app, function picloud.Env) picloud.Env {
	if len(app) == 0 {
		return function
	}
	env := maps.Clone(app)
	maps.Copy(env, function)
	return env
}

// Forget drops what the node keeps about a function that is gone. Last is the
// handle that it had.
func (i *Invoker) Forget(last *Function) {
	last.handle.Release()
	i.metrics.forget(last.Route.Key())
	i.rings.forget(last.Route.Key())
}
