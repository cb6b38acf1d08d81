package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/agent/replica"
	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/service"
)

const (
	// connectTimeout bounds one attempt to bring the database up: a first
	// initdb on an SD card takes tens of seconds.
	connectTimeout = 2 * time.Minute
	// stopDatabaseTimeout bounds the clean stop of a managed server.
	stopDatabaseTimeout = 15 * time.Second
	// leaveTimeout bounds the attempt to tell the other nodes of a stop.
	leaveTimeout = time.Second
)

// database is the node's way to PostgreSQL. The node serves without it.
type database struct {
	*store.DB
	server   *managed.Server // nil: a DSN is set
	syncer   *replica.Syncer
	fleet    *replica.Fleet
	listener *postgres.Listener

	halted context.Context // ended when this node's database is not the cluster's any more
	halt   context.CancelFunc
	retry  chan struct{} // asks for the next attempt at once: the database has moved

	outcast    func() error  // why no member lets this node in; nil error: they do
	limited    bool          // the node's role in the database has the rights of serving only
	open       atomic.Bool   // this node leads: the control API may use the database
	connecting *service.Task // brings everything up, and down again
	settled    func()        // after the first attempt, and after success

	mu      sync.Mutex
	waiting error // why it is not open yet
}

// openDatabase prepares the way to the database; nothing is touched yet.
func (a *Agent) openDatabase() error {
	d := &database{retry: make(chan struct{}, 1), settled: sync.OnceFunc(func() { close(a.settled) }), outcast: a.outcast}
	o := postgres.Options{
		Version: a.opts.Version, Logger: a.log,
		Epoch: a.managesUnder, OnDeposed: a.deposed,
		OnTrouble: func() {
			d.syncer.Interrupted() // it goes on asking until the database answers
			a.membership.wake(false)
		},
	}
	d.halted, d.halt = context.WithCancel(context.Background())
	var err error
	if d.server, err = a.reachDatabase(&o); err != nil {
		return err
	}
	if d.DB, err = store.Open(o); err != nil {
		return err
	}
	d.limited = a.limited()
	d.syncer = replica.NewSyncer(a.replica, d.Catalog(), reports{d}, a.self)
	d.fleet = replica.NewFleet(d.syncer)
	a.database = d
	return nil
}

// startConnecting goes on to the database in the background, for as long as that takes.
func (a *Agent) startConnecting() error {
	a.database.connecting = service.Go(context.Background(), a.connect)
	return nil
}

// connect brings up what needs the database, keeps it up until ctx ends, and
// brings it down again.
func (a *Agent) connect(ctx context.Context) {
	d := a.database
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.halted, cancel)()
	defer d.Close()
	defer a.connected.Down()
	if d.server != nil {
		// A stop at any moment ends what an attempt launched or was adopting.
		if err := a.connected.Up(service.Service{Name: "postgres", Stop: a.stopServer}); err != nil {
			a.log.Error("a stop of this node will not end its database", slog.Any("error", err))
		}
	}
	if !a.reach(ctx) {
		return
	}
	if _, trouble := a.vault.State(); trouble != nil { // a node that is no member hears what it lacks: an invitation
		a.log.Warn("secrets are not available on this node; functions that use none are served", slog.Any("error", trouble))
	}
	err := a.connected.Up(
		service.Service{Name: "connections", Stop: d.Close},
		service.Service{Name: "place among the nodes", Stop: a.leave},
		service.Service{Name: "key-value store", Start: a.useKeys},
		service.Service{Name: "listener", Start: func() error { a.listen(ctx); return nil }, Stop: func() { d.listener.Stop() }},
		service.Service{Name: "leader's duties", Start: a.lead, Stop: a.leading.Down},
		// A manager that stops gives its place away while it still reaches the database.
		service.Service{Name: "place in the elections", Stop: a.election.end},
	)
	if err != nil {
		a.log.Error("not all services run on this node", slog.Any("error", err))
	}
	d.settled()
	a.membership.wake(true)
	a.cluster.Say()
	d.syncer.Run(ctx)
}

// useKeys lets functions reach the key-value store.
func (a *Agent) useKeys() error {
	kv := a.database.KV()
	a.broker.UseKeys(func(app string, quota picloud.KVQuota) broker.Store { return kv.Of(app, quota) })
	return nil
}

// listen hears of changes at once. A node without a listener compares once a
// minute, so a listener that does not start keeps no other service from starting.
func (a *Agent) listen(ctx context.Context) {
	d := a.database
	d.listener = d.Listen([]string{postgres.CatalogChannel, postgres.NodeChannel}, a.notified)
	if err := d.listener.Start(ctx); err != nil {
		a.log.Error("listen for changes; comparing once a minute instead", slog.Any("error", err))
	}
}

// lead brings up what only the leader does. A cluster of one leads as long as it
// is connected. One of several leads in perform.
func (a *Agent) lead() error {
	open := &a.database.open
	return a.leading.Up(service.Service{
		Name:  "manager",
		Start: func() error { open.Store(true); return nil },
		Stop:  func() { open.Store(false) },
	}, a.housekeepingAlone())
}

// reach makes attempts until the database is ready for work, or ctx ends.
func (a *Agent) reach(ctx context.Context) bool {
	d, last := a.database, backoff.Soon
	if d.server != nil {
		last = backoff.Last // an attempt to start a server writes to the disk
	}
	for pause := backoff.New(backoff.First, last); ; {
		err := a.attempt(ctx)
		if err == nil {
			return true // also when ctx has ended meanwhile: the node has reported, and says that it stops
		}
		if ctx.Err() != nil {
			return false
		}
		a.failed(err)
		d.mu.Lock()
		again := d.waiting != nil && d.waiting.Error() == err.Error()
		d.waiting = err
		d.mu.Unlock()
		d.settled()
		a.membership.wake(false)
		if !again {
			a.log.Warn("the node does not have the database yet, and goes on trying", slog.Any("error", err))
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-d.retry:
			pause.Reset()
		case <-ctx.Done():
			return false
		}
	}
}

// attempt makes one attempt: server, schema, first user, the cluster's key. The node
// reports last: the others wait for a node that has reported.
func (a *Agent) attempt(ctx context.Context) error {
	if a.misplaced != nil {
		e := &picloud.Error{Code: picloud.CodeDatabaseDown, Op: "find the database", Detail: a.misplaced.Error()} // it names the file
		if cause, ok := errors.AsType[*picloud.Error](a.misplaced); ok {
			e.Hint = cause.Hint
		}
		return e
	}
	d := a.database
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if d.server != nil && !d.server.Started() {
		if err := a.mayHost(ctx); err != nil {
			return err
		}
		if err := d.server.Start(ctx); err != nil {
			return fmt.Errorf("start postgres: %w", err)
		}
	}
	if err := a.schema(ctx); err != nil {
		return err
	}
	if a.mayFound() {
		if err := a.firstUser(ctx); err != nil {
			return err
		}
	}
	if err := a.vault.Establish(ctx, d.Cluster()); err != nil {
		return err
	}
	err := reports{d}.Report(ctx, a.self())
	if err != nil && ctx.Err() != nil {
		a.leave() // the database may have heard it
	}
	return err
}

// mayFound reports whether this node may have made the first user, or is to make it: it
// did not join a cluster of others.
func (a *Agent) mayFound() bool {
	_, err := os.Stat(credentials.Path(a.opts.DataDir))
	return !a.cluster.Member() || err == nil
}

// firstUser makes the first user of an empty database.
func (a *Agent) firstUser(ctx context.Context) error {
	urls := credentials.File{Server: a.opts.ControlURL(), Functions: a.opts.FunctionsURL()}
	path, created, err := bootstrap(ctx, a.database.Users(), a.opts.DataDir, urls)
	if created {
		a.credentials.Store(&path)
	}
	return err
}

// leave says that this node stops, so that nobody waits for it.
func (a *Agent) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := (reports{a.database}).Stop(ctx, a.self()); err != nil {
		a.log.Info("the other nodes do not know that this one stops", slog.Any("error", err))
	}
}

// stopServer ends the managed server.
func (a *Agent) stopServer() {
	ctx, cancel := context.WithTimeout(context.Background(), stopDatabaseTimeout)
	defer cancel()
	if err := a.database.server.Stop(ctx); err != nil {
		a.log.Warn("stop managed database", slog.Any("error", err))
	}
}

// notified is called by the listener; an empty channel means that something
// may have been missed.
func (a *Agent) notified(channel, payload string) {
	d := a.database
	switch channel {
	case "":
		d.syncer.Interrupted()
		a.membership.wake(true)
		a.election.challenged()
	case postgres.CatalogChannel:
		d.syncer.Wake()
	case postgres.NodeChannel:
		if payload == fleet.Contended {
			a.election.challenged()
			return
		}
		if strings.HasPrefix(payload, fleet.Changed) {
			a.membership.wake(true)
		}
	}
	if channel != postgres.CatalogChannel {
		d.fleet.Reported()
	}
}

// answers reports whether the node has its database, as far as it knows.
func (d *database) answers() bool { return d.open.Load() && !d.Trouble() }

// closed says why the control API has to wait, or nil.
func (d *database) closed() error {
	if d.open.Load() {
		return nil
	}
	if d.outcast != nil {
		if err := d.outcast(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := &picloud.Error{
		Code: picloud.CodeDatabaseDown, Op: "use database", RetryAfter: 2 * time.Second,
		Detail: "the node has not reached it since it started", Err: d.waiting,
	}
	if cause, ok := errors.AsType[*picloud.Error](d.waiting); ok {
		e.Detail, e.Hint, e.Err = cause.Detail, cause.Hint, cause.Err // Err with the detail would say it twice
	}
	return e
}
