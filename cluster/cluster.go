// Package cluster is a node among others: who it is, how it became a member, how it
// hears of the others and how it reaches them. It moves bytes, and knows no app and no
// database.
//
// A node that nobody has invited and that has invited nobody is alone: it listens on no
// port of the cluster and sends nothing. Its first invitation, or its joining, makes it a
// member, and it stays one over restarts. A stop is no leaving.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/gossip"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/join"
	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/mdns"
	"github.com/picloud/picloud/internal/service"
)

// Options say what the node is among others.
type Options struct {
	// Dir is the folder that the node keeps of its cluster. Required; made when needed.
	Dir string
	// Node is the node's UUID, and Name what people call it. Required.
	Node, Name string
	// Bind is the address that the node listens on. Default: all.
	Bind string
	// Advertise is the host name or address that others use to reach the node. Default:
	// the one that it was reached by when it joined, else the one of its first network.
	Advertise string
	// Port and GossipPort are the ports to listen on. Defaults: picloud.DefaultClusterPort
	// and picloud.DefaultGossipPort.
	Port, GossipPort int
	// Version is the version of the binary.
	Version string
	// Now is the clock for certificates. Default: the machine's, but never before the time
	// that this binary was built or that the node has seen.
	Now func() time.Time
	// Resolve finds the addresses of a host name. Default: the machine's resolver, and
	// multicast DNS for names in .local.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Say returns what the node tells the others of itself; address and role are filled in.
	Say func() gossip.Meta
	// CatchUp is called when the node begins to listen and knows other members, and before
	// it speaks in the gossip: it gets the present keys of that, and gives them to UseRing.
	CatchUp func(ctx context.Context)
	// Changed is called when a member came, went or said something new. It must not block.
	Changed func()
	// Logger receives what the node meets. Default: discard.
	Logger *slog.Logger
}

// Services answer what other nodes ask. They run in goroutines of the cluster port, and
// end when their connection is closed.
type Services struct {
	// Join answers a node that wants to become a member.
	Join func(conn net.Conn)
	// RPC serves a connection of HTTP.
	RPC func(l net.Listener)
	// Database carries a session with the node's own database; nil: it has none.
	Database func(conn net.Conn, peer identity.Peer)
}

// Cluster is this node's part of the cluster. Make it with Open.
type Cluster struct {
	o     Options
	log   *slog.Logger
	clock *identity.Clock

	// peers are the gossip addresses of the other members.
	peers atomic.Pointer[[]string]

	mu       sync.Mutex // guards what follows
	state    State
	identity *identity.Identity // nil: the node is alone
	services Services
	running  bool // between Start and Stop
	port     *port.Port
	gossip   *gossip.Gossip
	announce *mdns.Announcer // nil: the node listens on this machine only
	removed  map[string]bool
	twin     string        // the address of another machine that was named as this node
	gone     bool          // this node was removed
	unsaved  bool          // it renounced the database, and the disk does not have that
	ringed   chan struct{} // closed when the gossip may speak
	catching *service.Task // gets the keys of the gossip; nil: nothing to get
}

// Open reads what the node keeps of its cluster. It listens on nothing yet. With an error
// about the folder comes a Cluster that is alone.
func Open(o Options) (*Cluster, error) {
	o.Port, o.GossipPort = cmp.Or(o.Port, picloud.DefaultClusterPort), cmp.Or(o.GossipPort, picloud.DefaultGossipPort)
	if o.Resolve == nil {
		o.Resolve = mdns.Resolve
	}
	log := cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	clock := identity.NewClock(identity.ClockOptions{Path: filepath.Join(o.Dir, clockFile), Wall: o.Now, Logger: log})
	o.Now = clock.Now
	if o.Say == nil {
		o.Say = func() gossip.Meta { return gossip.Meta{} }
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	c := &Cluster{o: o, log: log, clock: clock}
	id, err := identity.Load(o.Dir)
	if missing(err) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if got := id.Peer().Node; got != o.Node {
		return c, &picloud.Error{
			Code: picloud.CodeConflict, Op: "open cluster folder", Resource: o.Dir, Detail: "it belongs to node " + got + ", and this is node " + o.Node,
			Hint: "run `picloud node reset` and join the cluster again with a new token",
		}
	}
	state, err := readState(o.Dir)
	if err != nil {
		return c, err
	}
	c.become(id, state)
	return c, nil
}

// become makes the node a member. The caller holds mu, or nobody else has c yet.
func (c *Cluster) become(id *identity.Identity, s State) {
	c.identity, c.state = id, s
	c.removed = map[string]bool{}
	for _, node := range s.Removed {
		c.removed[node] = true
	}
	c.publish()
	c.gone = c.removed[c.o.Node]
}

// Member reports whether the node is a member of a cluster: it has a certificate.
func (c *Cluster) Member() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.identity != nil
}

// State returns what the node knows of its cluster; the zero State if it is alone.
func (c *Cluster) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Peer returns who the node is, as its certificate says.
func (c *Cluster) Peer() identity.Peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity == nil {
		return identity.Peer{}
	}
	return c.identity.Peer()
}

// RootsPEM returns the roots that the node trusts.
func (c *Cluster) RootsPEM() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity == nil {
		return nil
	}
	return c.identity.RootsPEM()
}

// Request returns the certificate signing request of the node's key, which it makes at
// first.
func (c *Cluster) Request() ([]byte, error) {
	key, err := identity.MakeOrLoadKey(c.o.Dir)
	if err != nil {
		return nil, err
	}
	return key.CSR(), nil
}

// Enter makes the node a member, on disk first. The certificate is the last of the files:
// a crash before it leaves a node that is alone and may enter again. A node that runs
// begins to listen.
func (c *Cluster) Enter(s State, leafPEM, rootsPEM []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity != nil && !c.o.Now().After(c.identity.Expires()) {
		return nil
	}
	if err := s.write(c.o.Dir); err != nil {
		return err
	}
	if err := identity.Save(c.o.Dir, leafPEM, rootsPEM); err != nil {
		return err
	}
	id, err := identity.Load(c.o.Dir)
	if err != nil {
		return err
	}
	c.become(id, s)
	return c.listen()
}

// Listen makes a member that runs listen to the others, if it does not yet: the ports were
// taken when it tried.
func (c *Cluster) Listen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listen()
}

// listen is Listen. The caller holds mu.
func (c *Cluster) listen() error {
	if !c.running || c.identity == nil || c.port != nil {
		return nil
	}
	return c.open()
}

// Start listens and gossips, if the node is a member; else it does so as soon as it is one.
func (c *Cluster) Start(s Services) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.services, c.running = s, true
	return c.listen()
}

// open listens and gossips. The caller holds mu.
func (c *Cluster) open() error {
	address := net.JoinHostPort(c.o.Bind, strconv.Itoa(c.o.Port))
	p, err := port.Listen(address, port.Options{Identity: c.identity, Now: c.o.Now, Refused: c.refused, Logger: c.log})
	if err != nil {
		return explainListen("cluster port", "PICLOUD_CLUSTER_PORT", address, err)
	}
	if c.services.Join != nil {
		p.Handle(port.Join, func(conn net.Conn, _ identity.Peer) { c.services.Join(conn) })
	}
	if c.services.Database != nil {
		p.Handle(port.Database, c.services.Database)
	}
	if c.services.RPC != nil {
		c.services.RPC(p.Listener(port.RPC))
	}
	c.ringed = make(chan struct{})
	g, err := gossip.New(gossip.Options{
		Node: c.o.Node, Cluster: c.state.Cluster, Bind: c.o.Bind, Advertise: c.o.Advertise, Last: HostOf(c.state.Address), Port: c.o.GossipPort,
		Keys: c.state.GossipKeys, Known: c.known, Hold: c.ringed, Resolve: c.o.Resolve, Changed: c.heard, Logger: c.log,
	})
	if err == nil {
		g.Say(c.meta()) // before the start: the others never hear of a node without an address
		err = g.Start()
	}
	if err != nil {
		close(c.ringed)
		p.Close()
		return explainListen("gossip port", "PICLOUD_GOSSIP_PORT", net.JoinHostPort(c.o.Bind, strconv.Itoa(c.o.GossipPort)), err)
	}
	c.port, c.gossip = p, g
	c.catchUp()
	c.clock.Start(context.Background())
	c.announceIt()
	return nil
}

// announceIt lets others find the node by its name in .local, unless it listens on this
// machine only. The caller holds mu. A network without multicast is no error: whoever
// joins can use an address.
func (c *Cluster) announceIt() {
	if bound, err := netip.ParseAddr(c.o.Bind); err == nil && bound.IsLoopback() {
		return
	}
	a, err := mdns.New(mdns.Options{Name: c.o.Name, Cluster: c.state.Name, Port: c.o.Port, Logger: c.log})
	if err == nil {
		err = a.Start()
	}
	if err != nil {
		c.log.Info("this node is not found by its name in .local", slog.Any("error", err))
		return
	}
	c.announce = a
}

// explainListen says which setting chooses another port.
func explainListen(what, env, address string, err error) error {
	return &picloud.Error{
		Code: picloud.CodeConflict, Op: "listen on " + what, Resource: address, Err: err,
		Hint: "free the port, or choose another one: " + env,
	}
}

// Stop ends what Start began. The node stays a member.
func (c *Cluster) Stop() {
	c.mu.Lock()
	p, g, a := c.port, c.gossip, c.announce
	catching := c.catching
	c.port, c.gossip, c.announce, c.catching, c.running = nil, nil, nil, nil, false
	c.mu.Unlock()
	catching.Stop()
	if a != nil {
		a.Stop()
	}
	if g != nil {
		g.Stop()
	}
	if p != nil {
		p.Close()
		c.clock.Stop()
	}
}

// Say tells the others what has changed of this node.
func (c *Cluster) Say() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gossip != nil {
		c.gossip.Say(c.meta()) // under the lock: of two at once the newer one counts
	}
}

// refused reports whether a node was removed.
func (c *Cluster) refused(node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed[node]
}

// known lists the gossip addresses of the other members. It takes no lock: the gossip asks
// while it starts, too.
func (c *Cluster) known() []string {
	if peers := c.peers.Load(); peers != nil {
		return *peers
	}
	return nil
}

// publish makes what known lists. The caller holds mu, or nobody else has c yet.
func (c *Cluster) publish() {
	out := make([]string, 0, len(c.state.Members))
	for _, m := range c.state.Members {
		address := m.Gossip
		if host := HostOf(m.Address); address == "" && host != "" {
			// Only the database has told of it so far: most nodes gossip on the same port.
			address = net.JoinHostPort(host, strconv.Itoa(c.o.GossipPort))
		}
		if m.Node != c.o.Node && address != "" && !c.removed[m.Node] {
			out = append(out, address)
		}
	}
	c.peers.Store(&out)
}

// heard takes down what the gossip says of the others, so that a restart finds them again.
func (c *Cluster) heard() {
	c.mu.Lock()
	g := c.gossip
	c.mu.Unlock()
	if g != nil {
		heard := g.Members()
		c.remember(heard)
		c.follow(heard)
		c.nameTwin(g.Twin())
	}
	c.o.Changed()
}

// follow takes over the address under which this node gossips, which it finds anew when
// the machine gets another one, unless a setting says which one others use.
func (c *Cluster) follow(heard []gossip.Member) {
	i := slices.IndexFunc(heard, func(m gossip.Member) bool { return m.Node == c.o.Node && m.Alive })
	if i < 0 {
		return
	}
	c.mu.Lock()
	address := net.JoinHostPort(cmp.Or(c.o.Advertise, HostOf(heard[i].Gossip)), strconv.Itoa(c.o.Port))
	moved := address != c.state.Address
	if moved {
		c.log.Info("other nodes reach this one at another address now", slog.String("from", c.state.Address), slog.String("to", address))
		c.state.Address = address
		c.save()
	}
	c.mu.Unlock()
	if moved {
		c.Say()
	}
}

// twinPatience is how long another machine must go on saying that it is this node. For
// half a minute after this one got another address, it may be its own past.
const twinPatience = 35 * time.Second

// nameTwin says that another machine runs with a copy of this node's data folder.
func (c *Cluster) nameTwin(address string, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if address == "" || time.Since(since) < twinPatience || c.twin == address {
		return
	}
	c.twin = address
	c.log.Error("another machine says that it is this node: it runs with a copy of this node's data folder; stop one of them, run `picloud node reset` there, and join it again with a new token",
		slog.String("address", address))
}

// Learn takes down what the database says of the members. It is the authority on who is
// one.
func (c *Cluster) Learn(members []join.Member, removed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.identity == nil {
		return
	}
	next := make([]join.Member, 0, len(members))
	for _, m := range members {
		if m.Node == c.o.Node {
			continue
		}
		if i := slices.IndexFunc(c.state.Members, func(k join.Member) bool { return k.Node == m.Node }); i >= 0 {
			known := c.state.Members[i]
			m.Address, m.Gossip = cmp.Or(m.Address, known.Address), cmp.Or(m.Gossip, known.Gossip)
		}
		next = append(next, m)
	}
	slices.SortFunc(next, func(a, b join.Member) int { return cmp.Compare(a.Node, b.Node) })
	if slices.Equal(next, c.state.Members) && slices.Equal(removed, c.state.Removed) {
		c.told(c.removed[c.o.Node]) // whatever a member said: the database knows better
		return
	}
	c.state.Members, c.state.Removed = next, removed
	c.refuse(removed)
	c.publish()
	c.save()
}

// remember takes down the addresses of members that the gossip tells. Who is a member, and
// in which role, it does not take from there: a peer that lies can say anything.
func (c *Cluster) remember(heard []gossip.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	for _, h := range heard {
		if h.Node == c.o.Node || !h.Alive || h.Meta.Address == "" || c.removed[h.Node] {
			continue
		}
		i := slices.IndexFunc(c.state.Members, func(k join.Member) bool { return k.Node == h.Node })
		if i < 0 || c.state.Members[i].Address == h.Meta.Address && c.state.Members[i].Gossip == h.Gossip {
			continue
		}
		if !changed {
			c.state.Members, changed = slices.Clone(c.state.Members), true // others read the list without the lock
		}
		c.state.Members[i].Address, c.state.Members[i].Gossip = h.Meta.Address, h.Gossip
	}
	if changed {
		c.publish()
		c.save()
	}
}

// maxMembers bounds the removed nodes that are taken from another member.
const maxMembers = 1000

// save writes the state. The caller holds mu. A node whose disk is full goes on.
func (c *Cluster) save() {
	if err := c.state.write(c.o.Dir); err != nil {
		c.log.Warn("the addresses of the other nodes are not saved", slog.Any("error", err))
	}
}

// Listener returns the connections of a protocol that other nodes open to this one. It is
// an error for a node that does not listen to others.
func (c *Cluster) Listener(proto string) (net.Listener, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.port == nil {
		return nil, errors.New("this node does not listen to other nodes")
	}
	return c.port.Listener(proto), nil
}

// Members returns what the gossip says of the nodes, this one too. The role of another node
// is the one that the database told, and none until it did: what a node says of its own
// role gives it no part in elections and no calls.
func (c *Cluster) Members() []gossip.Member {
	c.mu.Lock()
	g, members := c.gossip, c.state.Members
	c.mu.Unlock()
	if g == nil {
		return nil
	}
	roles := make(map[string]picloud.NodeRole, len(members))
	for _, m := range members {
		roles[m.Node] = m.Role
	}
	heard := g.Members()
	for i, h := range heard {
		if h.Node != c.o.Node {
			heard[i].Meta.Role = string(roles[h.Node])
		}
	}
	return heard
}

// Dial opens a connection to a node, at the addresses that are known of it.
func (c *Cluster) Dial(ctx context.Context, node, proto string) (net.Conn, error) {
	c.mu.Lock()
	id, addresses := c.identity, []string{}
	if node == c.o.Node { // a command beside the node asks it as the others do
		addresses = append(addresses, c.state.Address)
	}
	for _, m := range c.state.Members {
		if m.Node == node {
			addresses = append(addresses, m.Address)
		}
	}
	g := c.gossip
	c.mu.Unlock()
	if id == nil {
		return nil, unreached(node, errors.New("this node is alone"))
	}
	if g != nil {
		for _, m := range g.Members() {
			if m.Node == node && m.Meta.Address != "" && !slices.Contains(addresses, m.Meta.Address) {
				addresses = append([]string{m.Meta.Address}, addresses...)
			}
		}
	}
	if len(addresses) == 0 {
		return nil, unreached(node, errors.New("no address is known"))
	}
	var errs []error
	d := port.Dialer{Identity: id, Now: c.o.Now, Refused: c.refused}
	for _, address := range addresses {
		conn, err := d.Dial(ctx, address, proto, node)
		if err == nil {
			return conn, nil
		}
		c.refusedBy(err)
		errs = append(errs, err)
	}
	return nil, unreached(node, errors.Join(errs...))
}

func unreached(node string, cause error) error {
	return &picloud.Error{
		Code: picloud.CodeUnreached, Op: "reach node", Resource: node, RetryAfter: 2 * time.Second, Err: cause,
		Hint: "look whether that node runs and whether its cluster port can be reached: `picloud node ls`",
	}
}
