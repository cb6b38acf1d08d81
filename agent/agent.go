// Package agent is the composition root of a node: it boots from the catalog's
// copy on disk, serves functions through the executor, keeps the copy equal to
// the database, and wires the manager's API. It knows no Caddy; caddymodule
// puts it behind Caddy's listeners.
package agent

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/agent/gateway"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/agent/quota"
	"github.com/picloud/picloud/agent/replica"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/datadir"
	"github.com/picloud/picloud/internal/egress"
	"github.com/picloud/picloud/internal/logbook"
	"github.com/picloud/picloud/internal/redact"
	"github.com/picloud/picloud/internal/service"
)

// Agent is one node. Make it with New, then Start it once; Stop ends it for good.
type Agent struct {
	opts      Options
	log       *slog.Logger
	started   time.Time
	secrets   redact.Secrets
	vault     *broker.Vault
	broker    *broker.Broker
	execStats *executor.Metrics
	// clusterStats are the metrics of the other nodes.
	clusterStats []prometheus.Collector

	bodies  *budget.Budget // memory for what is large and on its way
	logs    *logbook.Book
	invoker *invoke.Invoker
	gateway *gateway.Gateway
	replica *replica.Replica
	quota   *quota.Quota // limits that hold over all nodes

	state   atomic.Int32  // of type state
	ready   chan struct{} // closed when the node serves for the first time
	fatal   chan error    // see Fatal
	settled chan struct{} // see DatabaseSettled; the database closes it
	control atomic.Pointer[control]
	// credentials is the path of a token that this start saved; nil: none.
	credentials atomic.Pointer[string]

	mu       sync.Mutex // guards what follows, and Start against Stop
	identity nodeID
	executor *executor.Executor
	database *database
	cluster  *cluster.Cluster
	// misplaced says why the node cannot read what it keeps of its cluster; nil: it can.
	misplaced error
	lock      *datadir.Lock
	// memoryBefore is the limit of the process's memory before Start.
	memoryBefore int64

	sessions   *sessions  // with the database of another node
	dumps      dumpKeeper // of the database that this node runs
	membership *membership
	forwarder  *forwarder
	election   *election
	reign      atomic.Pointer[reign] // nil: this node does not manage a cluster of several
	rpc        *service.Task         // answers other nodes; nil: none has asked yet
	endNodes   context.CancelFunc    // ends what other nodes have under way here

	// The node's services: those that always run, those that run once the database
	// was reached, and those that run while this node leads. A cluster of one leads as
	// long as it is connected.
	always, connected, leading service.Stack
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
	opts, err := opts.Complete()
	if err != nil {
		return nil, err
	}
	a := &Agent{
		opts: opts, log: opts.Logger, started: time.Now(),
		ready: make(chan struct{}), fatal: make(chan error, 1), settled: make(chan struct{}), execStats: executor.NewMetrics(),
		vault: broker.NewVault(opts.DataDir, opts.Logger),
	}
	a.bodies = budget.New(opts.TransitMemory)
	a.logs = logbook.New(opts.DataDir, opts.NodeName, &a.secrets, opts.Logger)
	a.invoker = invoke.New(invoke.Options{Logs: a.logs, Secrets: &a.secrets, Grants: a.grants, Node: opts.NodeName, Logger: opts.Logger})
	a.membership, a.sessions, a.quota = newMembership(), &sessions{a: a}, quota.New(quota.Options{View: a.who, Ask: a.askKeeper})
	a.forwarder, a.election, a.clusterStats = a.newForwarder(), newElection(a), a.newClusterStats()
	a.gateway = gateway.New(gateway.Options{Bodies: a.bodies, Node: opts.NodeName, NewID: a.invoker.NewID, Unready: a.Unready})
	a.replica = replica.New(opts.DataDir, a.serve, opts.Logger)
	a.replica.OnStale(a.invoker.SetStale)
	a.replica.OnDurable(a.tellRevision)
	a.broker, err = broker.New(broker.Options{
		Vault: a.vault, Hidden: &a.secrets, Settled: a.settled, Egress: egress.Options{Reserved: opts.reserved, Memory: a.bodies},
	})
	return a, err
}

// Options returns the completed options.
func (a *Agent) Options() Options { return a.opts }

// Ready is closed when the node serves for the first time.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Fatal delivers an error when the node has nothing to serve and its own
// database server does not start, so that waiting would not help.
func (a *Agent) Fatal() <-chan error { return a.fatal }

// failed notes a failed attempt to bring the database up. One that is not this node's own may
// be there in a moment.
func (a *Agent) failed(err error) {
	if a.database.server != nil && state(a.state.Load()) == stateStarting {
		select {
		case a.fatal <- err:
		default:
		}
	}
}

// Collectors returns the node's metrics, always the same ones.
func (a *Agent) Collectors() []prometheus.Collector {
	return slices.Concat(
		a.invoker.Collectors(), a.gateway.Collectors(), a.replica.Collectors(), a.logs.Collectors(),
		a.broker.Collectors(), a.quota.Collectors(), a.execStats.Collectors(), a.clusterStats,
	)
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

// start is the way from nothing to serving, top to bottom. The order is the
// promise: the node serves what its disk holds before it looks for anybody else.
func (a *Agent) start() error {
	return a.always.Up([]service.Service{
		{Name: "memory limit", Start: a.limitMemory, Stop: a.unlimitMemory},
		{Name: "data folder", Start: a.openData, Stop: a.closeData},
		{Name: "logs", Start: a.logs.Start, Stop: a.logs.Stop},
		{Name: "outbound requests", Stop: func() { a.broker.Close() }},
		{Name: "executor", Start: a.startExecutor, Stop: func() { a.executor.Stop() }},
		{Name: "catalog copy", Start: a.bootCopy, Stop: a.replica.Close}, // from here on the node serves
		{Name: "place in the cluster", Start: a.openCluster},
		{Name: "control API", Start: a.openControl},
		{Name: "other nodes", Start: a.startCluster, Stop: a.stopCluster},
		{Name: "limits over nodes", Stop: a.quota.Stop},
		{Name: "membership", Start: a.startMembership, Stop: func() { a.membership.task.Stop() }},
		{Name: "database", Start: a.startConnecting, Stop: func() { a.database.connecting.Stop() }},
	}...)
}

// openData makes the data folder this process's own, and finds out who the node is.
func (a *Agent) openData() (err error) {
	if err := datadir.Resume(a.opts.DataDir); err != nil {
		return err
	}
	if a.lock = a.opts.Lock; a.lock == nil {
		if a.lock, err = datadir.Acquire(a.opts.DataDir); err != nil {
			return err
		}
	}
	if a.identity, err = loadIdentity(a.opts.DataDir); err != nil {
		a.closeData()
		return err
	}
	a.vault.Look()
	return nil
}

// closeData gives the data folder back, unless the caller of New holds it.
func (a *Agent) closeData() {
	if a.opts.Lock == nil {
		a.lock.Release()
	}
}

func (a *Agent) startExecutor() (err error) {
	a.executor, err = executor.New(executor.Options{
		WorkerPath: a.opts.WorkerPath, Sandbox: a.opts.Sandbox, Logger: a.log, Logs: a.logs, Host: a.broker, Metrics: a.execStats,
		IdleTimeout: a.opts.ExecutorIdle, MemoryCap: a.opts.ExecutorMemory, MaxWorkers: a.opts.ExecutorWorkers, Memory: a.bodies,
	})
	if err != nil {
		return err
	}
	a.invoker.UseExecutor(a.executor)
	return a.executor.Start(context.Background())
}

// BeginDrain makes the node answer 503 to health checks, so that balancers turn
// away, while calls are still served.
func (a *Agent) BeginDrain() {
	a.state.CompareAndSwap(int32(stateServing), int32(stateDraining))
	a.logs.EndFollowers()
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
		a.executor.Stop() // calls that end in time may still use the database
	}
	a.always.Down()
}

// ServeFunction answers r if it is for a function, and reports whether it was.
func (a *Agent) ServeFunction(w http.ResponseWriter, r *http.Request, c *gateway.Caller) bool {
	return a.gateway.Serve(w, r, c)
}

// self is the node as it reports itself.
func (a *Agent) self() picloud.Node {
	return picloud.Node{
		ID: a.identity.ID, Name: a.opts.NodeName, Version: a.opts.Version,
		Rev: a.replica.Durable(), StartedAt: a.started, SeenAt: time.Now(), Arch: arch, Address: a.address(), Place: a.identity.place,
	}
}

// grants are what a function may ask of this node.
func (a *Agent) grants(function string, settings picloud.Settings, app picloud.AppConfig) any {
	return a.broker.Grants(function, settings, app)
}
