package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/managed"
)

const (
	// connectTimeout bounds one attempt to bring the database up: a first
	// initdb on an SD card takes tens of seconds.
	connectTimeout = 2 * time.Minute
	// stopDatabaseTimeout bounds the clean stop of a managed server.
	stopDatabaseTimeout = 15 * time.Second
)

// database owns the node's way to PostgreSQL: the managed server, the pools,
// the listener and the syncer. The node serves without any of it.
type database struct {
	*postgres.DB
	server    *managed.Server // nil: a DSN is set
	listener  *postgres.Listener
	sync      *syncer
	fleet     *fleet
	bootstrap func(ctx context.Context) error
	vault     *broker.Vault
	broker    *broker.Broker
	failed    func(error) // told about each failed attempt
	log       *slog.Logger
	running   bool // server is; only run and stop touch it

	open atomic.Bool // migrated: the control API may use it

	mu      sync.Mutex
	waiting error // why it is not open yet
}

// newDatabase prepares the way to the database; nothing is touched yet.
func newDatabase(a *Agent) (*database, error) {
	d := &database{log: a.log, failed: a.failed, vault: a.vault, broker: a.broker}
	dsn := a.opts.DatabaseURL
	if dsn == "" {
		var err error
		d.server, err = managed.New(managed.Options{DataDir: a.opts.DataDir, BinDir: a.opts.PostgresBin, Lock: a.lock, Logger: a.log})
		if err != nil {
			return nil, err
		}
		dsn = d.server.DSN()
	}
	var err error
	if d.DB, err = postgres.Open(postgres.Options{DSN: dsn, Version: a.opts.Version, Logger: a.log}); err != nil {
		return nil, err
	}
	d.sync = &syncer{
		catalog: a.catalog, store: d.Catalog(), nodes: d.Nodes(), self: a.self,
		metrics: a.metrics, log: a.log, wakeup: make(chan struct{}, 1),
	}
	d.fleet = &fleet{self: a.self, nodes: d.Nodes(), catalog: a.catalog, wake: d.sync.wake, changed: make(chan struct{})}
	d.bootstrap = func(ctx context.Context) error {
		path, created, err := bootstrap(ctx, d.Users(), a.opts.DataDir, Credentials{Server: a.opts.ControlURL(), Functions: a.opts.FunctionsURL()})
		if created {
			a.credentials.Store(&path)
		}
		return err
	}
	return d, nil
}

// run brings the database up, for as long as that takes, and then keeps the
// catalog equal to it until ctx ends.
func (d *database) run(ctx context.Context) {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := d.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			break
		}
		d.failed(err)
		d.mu.Lock()
		again := d.waiting != nil && d.waiting.Error() == err.Error()
		d.waiting = err
		d.mu.Unlock()
		if !again {
			d.log.Warn("database is not there yet; trying on", slog.Any("error", err))
		}
		select {
		case <-time.After(retry/2 + rand.N(retry/2+1)):
		case <-ctx.Done():
			return
		}
	}
	d.listener = d.Listen([]string{postgres.CatalogChannel, postgres.NodeChannel}, d.notified)
	if err := d.listener.Start(ctx); err != nil {
		d.log.Error("listen for changes; comparing once a minute instead", slog.Any("error", err))
	}
	defer d.listener.Stop()
	d.open.Store(true)
	d.broker.UseKeys(func(app string, quota picloud.KVQuota) broker.Store { return d.KV().Of(app, quota) })
	d.sync.run(ctx)
}

// connect makes one attempt: server, schema, first user.
func (d *database) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if d.server != nil && !d.running {
		if err := d.server.Start(ctx); err != nil {
			return err
		}
		d.running = true
	}
	if err := d.Migrate(ctx); err != nil {
		return err
	}
	if err := d.bootstrap(ctx); err != nil {
		return err
	}
	return d.vault.Establish(ctx, d.Cluster())
}

// notified is called by the listener; an empty channel means that something
// may have been missed.
func (d *database) notified(channel, _ string) {
	switch channel {
	case "":
		d.sync.interrupted()
	case postgres.CatalogChannel:
		d.sync.wake()
	}
	if channel != postgres.CatalogChannel {
		d.fleet.reported()
	}
}

// stop ends the connections and the managed server. run has ended before.
func (d *database) stop() {
	d.Close()
	if !d.running {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopDatabaseTimeout)
	defer cancel()
	if err := d.server.Stop(ctx); err != nil {
		d.log.Warn("stop managed database", slog.Any("error", err))
	}
}

// closed says why the control API has to wait, or nil.
func (d *database) closed() error {
	if d.open.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "use database", RetryAfter: 2 * time.Second,
		Detail: "the node has not reached it since it started",
	}
	var cause *picloud.Error
	if errors.As(d.waiting, &cause) {
		e.Detail, e.Hint = cause.Detail, cause.Hint
	}
	e.Err = d.waiting
	return e
}
