// Package gossip tells the nodes of a cluster which of them are alive, and what
// each says of itself, by SWIM (hashicorp/memberlist).
//
// What it tells is a hint. Whoever holds a gossip key is believed, so nothing here
// gives a right: roles come from the database, identity from certificates. A peer
// that lies can show wrong figures and cost a bounded amount of memory.
//
// Four things around memberlist matter:
//
//   - It does not heal a partition by itself: both halves forget each other. The
//     keeper joins the known peers that are not alive again, every ten seconds.
//   - Its callbacks run under its locks. They only write to the roster, which has a
//     lock of its own, and wake a goroutine. Members reads the roster alone, so that
//     it may be called from anywhere.
//   - A node's address is fixed when its memberlist is made. When this machine's
//     address changes, the keeper leaves, makes a new one and joins again: a node
//     that left may come back under any address at once.
//   - Its own transport reads each packet into 64 KiB of new memory and tracks no
//     stream. Ours (wire) bounds both and closes everything when it stops.
//
// Packets and streams are sealed with AES-GCM. The cluster id is the label of each:
// a node of another cluster is refused before its bytes are decrypted.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/picloud/picloud/internal/backoff"
	"github.com/picloud/picloud/internal/service"
)

// DefaultPort is the port of gossip, both of TCP and of UDP.
const DefaultPort = 7946

// Options describe a node's gossip. Node, Cluster and Keys must be given.
type Options struct {
	// Node is the id of this node, at most 64 bytes. It is its name in gossip for
	// ever: the address may change, the id may not.
	Node string
	// Cluster is the id of the cluster. Nodes of other clusters are not heard.
	Cluster string
	// Bind is the IP address to listen on. Empty: all addresses.
	Bind string
	// Advertise is the address that others use: an IP address or a name, with or
	// without a port, which is not used. Empty: Bind, or else the address from
	// which this machine reaches its peers.
	Advertise string
	// Last is the address that the node advertised when it last ran, or empty. It is
	// kept for as long as this machine has it, unless Advertise says another one.
	Last string
	// Port is the port to listen on. 0: DefaultPort.
	Port int
	// Keys are 16, 24 or 32 bytes each. The first encrypts, each decrypts.
	Keys [][]byte
	// Known lists the gossip addresses (host:port) of the peers that this node has
	// ever met. Those that are not alive are tried again every ten seconds, of the
	// first 256. Nil: none.
	Known func() []string
	// Hold keeps this node from speaking to peers until it is closed: it may not have the
	// present keys yet. Nil: nothing to wait for.
	Hold <-chan struct{}
	// Resolve finds the addresses of a name. Nil: the resolver of the system.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Changed is called after members changed, once for several changes. It runs
	// in a goroutine of its own and may call every method. Nil: nobody asks.
	Changed func()
	// Logger receives memberlist's lines at level debug. Nil: the default logger.
	Logger *slog.Logger
}

// timing is how fast everything goes. Tests make it faster.
type timing struct {
	probe, probeTimeout time.Duration // one member is probed each time
	gossip              time.Duration // news go out
	pushPull            time.Duration // everything is compared with one member
	stream              time.Duration // the deadline of a TCP exchange
	reclaim             time.Duration // a dead member's id may come from another address after it
	forget              time.Duration // a dead member is told no news any more
	rejoin              time.Duration // known peers that are not alive are tried
	leave               time.Duration // the most that saying goodbye takes
}

// relaxed is memberlist's LAN profile with slower probes, for small boards and
// wireless networks.
var relaxed = timing{
	probe: 2 * time.Second, probeTimeout: time.Second, gossip: 500 * time.Millisecond,
	pushPull: 30 * time.Second, stream: 3 * time.Second, reclaim: 5 * time.Second,
	forget: 30 * time.Second, rejoin: 10 * time.Second, leave: 2 * time.Second,
}

// Gossip is a node's membership in the gossip of its cluster. It is safe for
// concurrent use.
type Gossip struct {
	opts   Options
	timing timing
	roster *roster
	keys   *keyring
	wrap   func(memberlist.NodeAwareTransport) memberlist.NodeAwareTransport // tests cut the network here

	said chan struct{} // wakes the speaker

	mu      sync.Mutex // held while list is made, used to speak, or left
	list    *memberlist.Memberlist
	address netip.Addr // what list advertises
	started bool
	stopped bool
	tasks   []*service.Task
}

// New prepares a node's gossip. It sends and opens nothing before Start.
func New(o Options) (*Gossip, error) {
	if o.Node == "" || len(o.Node) > maxName || o.Cluster == "" || len(o.Cluster) > memberlist.LabelMaxSize {
		return nil, fmt.Errorf("prepare gossip: the ids of the node and of the cluster must be given, of at most %d and %d bytes", maxName, memberlist.LabelMaxSize)
	}
	keys, err := newKeyring(o.Keys)
	if err != nil {
		return nil, fmt.Errorf("prepare gossip: %w", err)
	}
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Known == nil {
		o.Known = func() []string { return nil }
	}
	if o.Resolve == nil {
		o.Resolve = lookup
	}
	if o.Changed == nil {
		o.Changed = func() {}
	}
	last, _ := netip.ParseAddr(o.Last) // what is no address was none
	return &Gossip{opts: o, timing: relaxed, roster: newRoster(o.Node), keys: keys, said: make(chan struct{}, 1), address: last.Unmap()}, nil
}

// Start opens the port and begins to look for the known peers. It does not wait
// until one answers.
func (g *Gossip) Start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.started || g.stopped {
		return errors.New("start gossip: it was started or stopped before; make a new one")
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.timing.stream)
	defer cancel()
	if err := g.open(g.ownAddress(ctx, true)); err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	g.started = true
	k := &keeper{g: g, strikes: map[netip.AddrPort]int{}, aliases: map[netip.AddrPort]bool{}}
	for _, work := range []func(context.Context){k.keep, g.speak, g.herald} {
		g.tasks = append(g.tasks, service.Go(context.Background(), work))
	}
	return nil
}

// Stop says goodbye to the others, for two seconds at most, and closes the port.
// The node stays a member of its cluster: stopping is not removing. Afterwards a
// probe of memberlist that is under way ends by its timeout (16 s at most), and a Changed that is
// under way when it returns.
func (g *Gossip) Stop() {
	g.mu.Lock()
	g.stopped = true
	g.close() // ends what the tasks wait for, too
	tasks := g.tasks
	g.mu.Unlock()
	for _, task := range tasks {
		task.Stop()
	}
}

// open makes a memberlist that advertises address. The caller holds mu.
func (g *Gossip) open(address netip.Addr) error {
	w, err := listen(g.opts.Bind, g.opts.Port)
	if err != nil {
		return err
	}
	var transport memberlist.NodeAwareTransport = w
	if g.wrap != nil {
		transport = g.wrap(w)
	}
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = g.opts.Node, g.opts.Cluster
	c.Transport, c.Keyring = transport, g.keys.ring
	c.BindPort, c.AdvertisePort, c.AdvertiseAddr = g.opts.Port, g.opts.Port, address.String()
	c.ProbeInterval, c.ProbeTimeout = g.timing.probe, g.timing.probeTimeout
	c.GossipInterval, c.PushPullInterval = g.timing.gossip, g.timing.pushPull
	c.TCPTimeout, c.DeadNodeReclaimTime = g.timing.stream, g.timing.reclaim
	c.GossipToTheDeadTime = g.timing.forget
	c.UDPBufferSize = packetSize
	c.EnableCompression = false // a few hundred bytes gain nothing
	c.Delegate, c.Events, c.Alive, c.Conflict = g.roster, g.roster, g.roster, g.roster
	c.LogOutput = &journal{log: g.opts.Logger}
	list, err := memberlist.Create(c)
	if err != nil {
		return errors.Join(err, w.Shutdown())
	}
	g.list, g.address = list, address
	return nil
}

// close says goodbye and closes the port. The caller holds mu.
func (g *Gossip) close() {
	if g.list == nil {
		return
	}
	if err := g.list.Leave(g.timing.leave); err != nil {
		g.opts.Logger.Debug("gossip: not every peer heard that this node leaves", slog.Any("error", err))
	}
	if err := g.list.Shutdown(); err != nil {
		g.opts.Logger.Debug("gossip: close the port", slog.Any("error", err))
	}
	g.list = nil
	g.roster.allGone()
}

// Members lists the members that this node knows, itself among them, by id. Those
// that went away stay in the list, not alive, for a day.
func (g *Gossip) Members() []Member { return g.roster.list() }

// Twin reports that another machine says that it is this node: most likely a copy
// of its data folder. since is when that began; it is zero when nobody says so. For
// half a minute after this node's address changed it may be the node's own past.
func (g *Gossip) Twin() (address string, since time.Time) { return g.roster.theTwin() }

// Say changes what this node tells the others about itself. It does not block;
// when it is called several times at once the last one counts.
func (g *Gossip) Say(m Meta) {
	if g.roster.say(m.encode()) {
		poke(g.said)
	}
}

// UseKeys changes the keys: the first encrypts, each decrypts. To rotate without
// losing a member, give every node the new key as the second, then as the first,
// then take the old one away.
func (g *Gossip) UseKeys(keys [][]byte) error { return g.keys.use(keys) }

// speak tells the others when this node has something new to say.
func (g *Gossip) speak(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.said:
		}
		g.mu.Lock()
		if g.list != nil {
			// The news goes out with the next gossip; an error only says that we did not wait.
			_ = g.list.UpdateNode(time.Nanosecond)
		}
		g.mu.Unlock()
		// News within one interval of gossip go out together.
		backoff.Pause(ctx, g.timing.gossip/4)
	}
}

// herald calls Changed, outside of all locks. A Changed that never returns hangs
// itself alone: the goroutine that waits here ends with Stop.
func (g *Gossip) herald(ctx context.Context) {
	idle := make(chan struct{}, 1)
	idle <- struct{}{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.roster.changed:
		}
		select {
		case <-ctx.Done():
			return
		case <-idle:
		}
		service.Go(ctx, func(context.Context) {
			defer poke(idle)
			g.opts.Changed()
		})
	}
}

// poke wakes whoever waits for c, and never blocks: c has room for one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keyring is memberlist's keyring, changed as a whole.
type keyring struct {
	mu   sync.Mutex // one change at a time
	ring *memberlist.Keyring
}

// maxKeys is how many keys a node holds. Each packet that none opens costs as many
// tries.
const maxKeys = 8

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 || len(keys) > maxKeys {
		return fmt.Errorf("there are %d gossip keys, and there must be 1 to %d", len(keys), maxKeys)
	}
	for i, key := range keys {
		if err := memberlist.ValidateKey(key); err != nil {
			return fmt.Errorf("gossip key %d of %d has %d bytes: it must have 16, 24 or 32", i+1, len(keys), len(key))
		}
	}
	return nil
}

func newKeyring(keys [][]byte) (*keyring, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(nil, slices.Clone(keys[0]))
	if err != nil {
		return nil, err
	}
	k := &keyring{ring: ring}
	return k, k.use(keys)
}

// use makes keys the keys of the ring. RemoveKey of memberlist moves the keys
// behind the removed one while others read them, so the ring is ordered first and
// keys are removed from its end alone, where nothing moves.
func (k *keyring) use(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range keys {
		if err := k.ring.AddKey(slices.Clone(key)); err != nil {
			return err
		}
	}
	for _, key := range slices.Backward(keys) {
		if err := k.ring.UseKey(key); err != nil {
			return err
		}
	}
	keep := func(key []byte) bool {
		return slices.ContainsFunc(keys, func(wanted []byte) bool { return slices.Equal(wanted, key) })
	}
	for _, key := range slices.Backward(k.ring.GetKeys()) {
		if keep(key) {
			break
		}
		if err := k.ring.RemoveKey(key); err != nil {
			return err
		}
	}
	return nil
}
