package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster"
	"github.com/picloud/picloud/cluster/gossip"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/fleet"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/service"
)

// relayed is how long a session with the database of another node may take to open.
const relayed = 5 * time.Second

// clusterDir is the folder that a node keeps of its cluster.
func clusterDir(dataDir string) string { return filepath.Join(dataDir, "cluster") }

// openCluster reads what the node keeps of its cluster. What is damaged there keeps the
// node from its database, and from nothing else: without its cluster it must not take a
// database of its own.
func (a *Agent) openCluster() error {
	a.cluster, a.misplaced = cluster.Open(cluster.Options{
		Dir: clusterDir(a.opts.DataDir), Node: a.identity.ID, Name: a.opts.NodeName, Version: a.opts.Version,
		Bind: a.opts.ClusterBind, Advertise: a.opts.Advertise, Port: a.opts.ClusterPort, GossipPort: a.opts.GossipPort,
		Say: a.gossiped, Changed: a.heard, CatchUp: a.catchUp, Now: a.opts.now, Logger: a.log,
	})
	if a.misplaced != nil {
		a.log.Error("this node does not find its place in its cluster; it serves the functions of its disk copy, and nothing else", slog.Any("error", a.misplaced))
	}
	// A copy of a managed database comes with its node: those two never meet. All others do.
	if a.opts.DatabaseURL != "" || a.cluster.Member() && a.cluster.State().Database.Host != a.identity.ID {
		a.identity.place = placeOf(a.opts.DataDir)
	}
	a.quota.Changed()
	return nil
}

// startCluster begins to listen to other nodes, if there are any.
func (a *Agent) startCluster() error {
	door := join.NewDoor(a.admit, a.log)
	ctx, cancel := context.WithCancel(context.Background())
	services := cluster.Services{
		Join: func(conn net.Conn) { door.Serve(ctx, conn) },
		RPC:  func(l net.Listener) { a.rpc = service.Go(ctx, func(ctx context.Context) { a.serveNodes(ctx, l) }) },
	}
	if server := a.database.server; server != nil {
		relay := server.Relay()
		services.Database = func(conn net.Conn, peer identity.Peer) {
			if err := relay.Serve(ctx, conn, fleet.RoleName(peer.Node)); err != nil {
				a.log.Info("a session of another node was refused", slog.String("node", peer.Name), slog.Any("error", err))
			}
		}
	}
	a.endNodes = cancel
	if err := a.cluster.Start(services); err != nil {
		return err
	}
	a.keepDumps()
	return a.election.begin()
}

// stopCluster ends all that other nodes have here.
func (a *Agent) stopCluster() {
	a.dumps.stop()
	a.election.end()
	a.endNodes()
	a.forwarder.closeIdle()
	a.cluster.Stop()
	a.rpc.Stop()
}

// serveNodes answers the other nodes over HTTP until ctx ends.
func (a *Agent) serveNodes(ctx context.Context, l net.Listener) {
	server := &http.Server{
		Handler: a.nodeHandler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog:    slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		ConnContext: withPeer,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		a.log.Error("the node answers other nodes no more", slog.Any("error", err))
	}
}

// gossiped is what the node says of itself in the gossip.
func (a *Agent) gossiped() gossip.Meta {
	m := gossip.Meta{Rev: a.replica.Durable(), Epoch: a.election.epoch.Load(), Group: int(a.election.group.Load())}
	if d := a.database; d != nil {
		m.Database, m.Hosts = d.open.Load() && !d.Trouble(), d.server != nil
	}
	return m
}

// heard is called when the gossip has something new.
func (a *Agent) heard() {
	alive := a.alive()
	changed := a.membership.alive.Swap(int64(len(alive))) != int64(len(alive))
	if d := a.database; d != nil && (changed || slices.ContainsFunc(alive, a.newer)) {
		d.syncer.Wake() // who lost its neighbours may have lost the database, too
	}
	a.membership.wake(false)
	a.election.heard()
	a.quota.Changed()
}

// newer reports whether a node says that it serves a later revision than this one.
func (a *Agent) newer(m gossip.Member) bool { return m.Meta.Rev > a.replica.Durable() }

// tellRevision tells the others which revision this node serves. The one that the node
// boots with it tells when it begins to gossip.
func (a *Agent) tellRevision() {
	if a.cluster != nil {
		a.cluster.Say()
	}
}

// reachDatabase says how this node reaches the database of its cluster. A nil server means
// that the database is elsewhere.
func (a *Agent) reachDatabase(o *postgres.Options) (server *managed.Server, err error) {
	state := a.cluster.State()
	switch host := state.Database.Host; {
	case a.misplaced != nil: // attempt says so, and reaches nothing
		o.DSN, o.Socket = managed.DSN, a.opts.DataDir
	case a.opts.DatabaseURL != "":
		o.DSN = a.opts.DatabaseURL
	case state.Database.DSN != "":
		o.DSN = state.Database.DSN
	case host != "" && host != a.identity.ID:
		if o.DSN, err = postgres.DSNOf(managed.DSN, fleet.RoleName(a.identity.ID), ""); err != nil {
			return nil, err
		}
		o.Dial = a.sessions.dial // it may move to another node while this one runs
	default:
		server, err = managed.New(managed.Options{
			DataDir: a.opts.DataDir, BinDir: a.opts.PostgresBin, Lock: a.lock, Logger: a.log,
			Existing: a.cluster.Member(), // an empty database must not become the cluster's
		})
		if err != nil {
			return nil, err
		}
		o.DSN, o.Socket = managed.DSN, server.Socket()
	}
	return server, nil
}

// learn takes down who the members are. The manager also takes the database from those that
// were removed: whoever removed them may have ended in between. With an error the gossip and
// what the disk has go on.
func (a *Agent) learn(ctx context.Context) error {
	if !a.cluster.Member() {
		return nil
	}
	found, err := a.database.Cluster().Members(ctx)
	if err != nil {
		return err
	}
	var members []join.Member
	var removed []string
	for _, m := range found {
		if m.Removed {
			removed = append(removed, m.ID)
			continue
		}
		if m.ID == a.identity.ID {
			a.membership.promoted.Store(m.Role == picloud.RoleManager && a.serves())
		}
		members = append(members, join.Member{Node: m.ID, Name: m.Name, Role: m.Role, Address: m.Address})
	}
	a.cluster.Learn(members, removed)
	a.quota.Changed()
	a.forwarder.closeIdle() // one of them may lead to a node that was removed
	if len(removed) == 0 || !a.manages() {
		return nil
	}
	return a.database.Roles().LockOut(ctx)
}

// newClusterStats returns the metrics of the gossip. A node that is alone hears nobody.
func (a *Agent) newClusterStats() []prometheus.Collector {
	count := func(alive bool) func() float64 {
		return func() (n float64) {
			a.mu.Lock()
			c := a.cluster
			a.mu.Unlock()
			if c == nil {
				return 0
			}
			for _, m := range c.Members() {
				if m.Alive == alive {
					n++
				}
			}
			return n
		}
	}
	stats := make([]prometheus.Collector, 0, 2)
	for state, alive := range map[string]bool{"alive": true, "away": false} {
		stats = append(stats, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "picloud_cluster_members", Help: "Nodes that this node hears of in the gossip, itself included, by state; none while it is alone.",
			ConstLabels: prometheus.Labels{"state": state},
		}, count(alive)))
	}
	return stats
}

// arch is the processor of this node.
const arch = runtime.GOARCH

// address is where others reach this node; empty while it is alone.
func (a *Agent) address() string {
	if !a.cluster.Member() {
		return ""
	}
	return a.cluster.State().Address
}

// noManager says that the manager cannot be asked.
func noManager(detail string, cause error) error {
	return &picloud.Error{
		Code: picloud.CodeNoManager, Op: "ask the manager", Detail: detail, Err: cause, RetryAfter: 2 * time.Second,
		Hint: "functions are served; `picloud node ls` on another node shows which one is missing",
	}
}
