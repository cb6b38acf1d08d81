// Package agent is the composition root of a node: it boots from the catalog's
// copy on disk, serves functions through the executor, keeps the copy equal to
// the database, and wires the manager's API. It knows no Caddy; caddymodule
// puts it behind Caddy's listeners.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/egress"
	"github.com/picloud/picloud/internal/problem"
)

// Agent is one node. Make it with New, then Start it once; Stop ends it for good.
type Agent struct {
	opts      Options
	log       *slog.Logger
	started   time.Time
	ids       *callIDs
	rings     rings
	transit   transit
	hidden    redactions
	vault     *broker.Vault
	broker    *broker.Broker
	trouble   trouble
	metrics   *metrics
	execStats *executor.Metrics

	logs    *logs
	catalog *catalog

	state    atomic.Int32  // of type state
	ready    chan struct{} // closed when the node serves for the first time
	hopeless chan error    // see Hopeless
	control  atomic.Pointer[control]
	// credentials is the path of a token that this start saved; nil: none.
	credentials atomic.Pointer[string]

	mu       sync.Mutex // guards what follows, and Start against Stop
	identity identity
	executor *executor.Executor
	database *database
	cancel   context.CancelFunc
	running  sync.WaitGroup
	lock     *datadir.Lock
}

// state is where a node is in its life; it only goes forward.
type state int32

const (
	stateNew      state = iota
	stateStarting       // Start has run; nothing to serve yet
	stateServing
	stateDraining
	stateStopped
)

// New checks the options. It touches neither disk nor network, since Caddy
// makes a node to validate a configuration too.
func New(opts Options) (*Agent, error) {
	opts, err := opts.complete()
	if err != nil {
		return nil, err
	}
	a := &Agent{
		opts: opts, log: opts.Logger, started: time.Now(), ids: newCallIDs(),
		ready: make(chan struct{}), hopeless: make(chan error, 1), execStats: executor.NewMetrics(),
		logs: newLogs(opts.DataDir, opts.NodeName, opts.Logger),
	}
	a.transit.limit, a.trouble.log = opts.TransitMemory, a.log
	a.logs.hidden = &a.hidden
	a.vault = broker.NewVault(opts.DataDir, opts.Logger)
	a.catalog = newCatalog(a)
	a.metrics = newMetrics(a.catalog.age, func() float64 { return float64(a.logs.dropped.Load()) },
		func() float64 { return float64(a.transit.used.Load()) })
	a.broker, err = broker.New(broker.Options{
		Vault: a.vault, Hidden: hider{&a.hidden}, Egress: egress.Options{Reserved: opts.reserved, Memory: bodyMemory{&a.transit}},
	})
	return a, err
}

// Options returns the completed options.
func (a *Agent) Options() Options { return a.opts }

// Ready is closed when the node serves for the first time.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Hopeless delivers an error when the node has nothing to serve and its own
// database server does not start: waiting would be no use.
func (a *Agent) Hopeless() <-chan error { return a.hopeless }

// failed notes a failed attempt to bring the database up.
func (a *Agent) failed(err error) {
	if a.opts.DatabaseURL == "" && state(a.state.Load()) == stateStarting {
		select {
		case a.hopeless <- err:
		default:
		}
	}
}

// Collectors returns the node's metrics, always the same ones.
func (a *Agent) Collectors() []prometheus.Collector {
	return slices.Concat(a.metrics.collectors(), a.broker.Collectors(), a.execStats.Collectors())
}

// Start brings the node up: it serves what the disk copy holds at once, and
// goes on to the database in the background. It fails only for what keeps the
// node from ever serving: a data folder that it cannot use or that another
// node holds, or no executor. Further calls do nothing.
func (a *Agent) Start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.state.CompareAndSwap(int32(stateNew), int32(stateStarting)) {
		return nil
	}
	if err := a.start(); err != nil {
		a.stop()
		return err
	}
	return nil
}

// start is the way from nothing to serving, top to bottom.
func (a *Agent) start() error {
	if err := datadir.Prepare(a.opts.DataDir); err != nil {
		return err
	}
	var err error
	if a.lock = a.opts.Lock; a.lock == nil {
		if a.lock, err = datadir.Acquire(a.opts.DataDir); err != nil {
			return err
		}
	}
	if a.identity, err = loadIdentity(a.opts.DataDir); err != nil {
		return err
	}
	a.vault.Look()
	if err := a.logs.start(); err != nil {
		return err
	}
	a.executor, err = executor.New(executor.Options{
		WorkerPath: a.opts.WorkerPath, Sandbox: a.opts.Sandbox, Logger: a.log, Logs: a.logs, Host: a.broker, Metrics: a.execStats,
		IdleTimeout: a.opts.ExecutorIdle, MemoryCap: a.opts.ExecutorMemory, MaxWorkers: a.opts.ExecutorWorkers,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	if err := a.executor.Start(ctx); err != nil {
		return err
	}
	disk, err := newSnapshot(a.opts.DataDir, a.log)
	if err != nil {
		return err
	}
	a.catalog.boot(disk)
	if a.database, err = newDatabase(a); err != nil {
		return err
	}
	handler, err := a.newControl(a.database)
	if err != nil {
		return err
	}
	a.control.Store(&control{handler, a.database})
	a.running.Go(func() { a.database.run(ctx) })
	return nil
}

// serving notes that requests see a new table.
func (a *Agent) serving(t *table) {
	if a.state.CompareAndSwap(int32(stateStarting), int32(stateServing)) {
		close(a.ready)
	}
	a.metrics.catalogRev.Set(float64(t.rev))
	a.metrics.functions.Set(float64(len(t.endpoints)))
	a.executor.Retain(t.apps())
	a.hidden.retain(t.knows)
}

// BeginDrain makes the node answer 503 to health checks, so that balancers turn
// away, while calls are still served.
func (a *Agent) BeginDrain() {
	a.state.CompareAndSwap(int32(stateServing), int32(stateDraining))
	a.logs.endFollowers()
}

// Stop ends the node: calls in flight get a bounded time, then everything is
// stopped in the reverse order of Start. It blocks until all of it has ended.
func (a *Agent) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stop()
}

func (a *Agent) stop() {
	if state(a.state.Swap(int32(stateStopped))) == stateStopped {
		return
	}
	if a.executor != nil {
		a.executor.Stop()
	}
	if a.cancel != nil {
		a.cancel()
	}
	a.running.Wait()
	if a.database != nil {
		a.database.stop()
	}
	a.broker.Close()
	a.logs.stop()
	if a.opts.Lock == nil {
		a.lock.Release()
	}
}

// ServeFunction answers r if it is for a function, and reports whether it was.
// This is the hot path: one atomic load, then the endpoint.
func (a *Agent) ServeFunction(w http.ResponseWriter, r *http.Request, clientIP string) bool {
	t := a.catalog.table.Load()
	if t == nil {
		if _, _, ok := (&table{}).match(r.URL.Path); !ok {
			return false
		}
		problem.WriteFunction(w, a.Unready(), a.ids.id())
		return true
	}
	ep, rest, ok := t.match(r.URL.Path)
	switch {
	case !ok:
		return false
	case ep == nil:
		problem.WriteFunction(w, &picloud.Error{
			Code: picloud.CodeFunctionNotFound, Op: "call function", Resource: picloud.Shorten(r.URL.Path, 200),
			Detail: "no function is deployed here", Hint: "`picloud ls` lists the functions; a path is /fn/{app}/{function}",
		}, a.ids.id())
	default:
		ep.serve(w, r, rest, clientIP)
	}
	return true
}

// Unready says why the node cannot serve, or nil if it can.
func (a *Agent) Unready() error {
	switch state(a.state.Load()) {
	case stateServing:
		return nil
	case stateDraining, stateStopped:
		return &picloud.Error{Code: picloud.CodeDraining, Op: "serve", Detail: "the node is shutting down", RetryAfter: 5 * time.Second}
	default:
		return &picloud.Error{Code: picloud.CodeStarting, Op: "serve", Detail: "the node has not loaded its catalog yet", RetryAfter: time.Second}
	}
}

// self is the node as it reports itself.
func (a *Agent) self() picloud.Node {
	_, rev := a.catalog.have()
	return picloud.Node{
		ID: a.identity.ID, Name: a.opts.NodeName, Version: a.opts.Version,
		Rev: rev, StartedAt: a.started, SeenAt: time.Now(),
	}
}

// endpoint builds the endpoint of a route; nothing is started.
func (a *Agent) endpoint(r picloud.Route, source []byte, app picloud.AppConfig, node picloud.Limits) *endpoint {
	limits := effective(r.Settings, app, node)
	return &endpoint{
		route: r, app: app, node: node, limits: limits, methods: r.Settings.Methods, cors: newCORS(r.Settings.CORS, r.Settings.Methods),
		function: a.executor.Function(executor.Program{
			App: r.App, Function: r.Function, Version: r.Version, Digest: r.Digest, Source: source, Limits: limits,
			Env: merged(app.Env, r.Settings.Env), Grants: a.broker.Grants(r.Function, r.Settings, app),
		}),
		gauge: a.metrics.gauge(r.Key(), picloud.TriggerHTTP), ring: a.rings.of(r.Key()), logs: a.logs, transit: &a.transit, trouble: &a.trouble,
		ids: a.ids, hidden: &a.hidden, nodeName: a.opts.NodeName,
		versionValue: []string{fmt.Sprintf("v%d", r.Version)}, nodeValue: []string{a.opts.NodeName},
	}
}

// effective are the limits of a function: its own, then its app's, then the
// node's, then the built-in ones.
func effective(s picloud.Settings, app picloud.AppConfig, node picloud.Limits) picloud.Limits {
	return s.Limits.Or(app.Settings.Limits).Or(node).WithDefaults()
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

// forget drops what the node kept about a function that is gone.
func (a *Agent) forget(key picloud.RouteKey, last *endpoint) {
	last.function.Release()
	a.metrics.forget(key)
	a.rings.forget(key)
	if _, more := a.catalog.table.Load().apps()[key.App]; !more {
		a.logs.forget(key.App)
	}
}
