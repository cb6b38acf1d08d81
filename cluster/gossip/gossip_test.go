package gossip

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A probe that is under way when memberlist shuts down ends by its timeout.
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for end := time.Now().Add(10 * time.Second); code == 0 && time.Now().Before(end); {
			if goleak.Find() == nil {
				break
			}
		}
		if code == 0 {
			if err := goleak.Find(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		os.Exit(code)
	}))
}

// brisk is relaxed, about five times as fast.
var brisk = timing{
	probe: 400 * time.Millisecond, probeTimeout: 200 * time.Millisecond, gossip: 100 * time.Millisecond,
	pushPull: 6 * time.Second, stream: time.Second, reclaim: 2 * time.Second,
	forget: 30 * time.Second, rejoin: time.Second, leave: 2 * time.Second,
}

const (
	soon    = 20 * time.Second
	step    = 20 * time.Millisecond
	cluster = "0d9c86a5-5a35-4c66-a1f5-5f1ab0a0c001"
)

var hosts atomic.Uint32

// loopback gives an address that no other test listens on.
func loopback() string {
	n := hosts.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 16+os.Getpid()%200, n/200, 1+n%200)
}

var testPort = 21000 + os.Getpid()%9000

func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return key
}

func nodeID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// options are those of a node on a loopback address of its own.
func options(key []byte, known ...*Gossip) Options {
	var peers []string
	for _, peer := range known {
		peers = append(peers, gossipAddress(peer))
	}
	return Options{
		Node: nodeID(), Cluster: cluster, Bind: loopback(), Port: testPort, Keys: [][]byte{key},
		Known: func() []string { return peers }, Logger: slog.New(slog.DiscardHandler),
	}
}

func gossipAddress(g *Gossip) string { return fmt.Sprintf("%s:%d", g.opts.Bind, g.opts.Port) }

// start runs a node until the test ends. change may be nil.
func start(t *testing.T, o Options, change ...func(*Gossip)) *Gossip {
	t.Helper()
	g, err := New(o)
	require.NoError(t, err)
	g.timing = brisk
	for _, f := range change {
		f(g)
	}
	require.NoError(t, g.Start())
	t.Cleanup(g.Stop)
	return g
}

// crash ends g without a word to the others.
func crash(g *Gossip) {
	g.mu.Lock()
	g.stopped = true
	_ = g.list.Shutdown()
	g.list = nil
	g.mu.Unlock()
	g.Stop()
}

// find returns what g knows of node.
func find(g *Gossip, node string) Member {
	members := g.Members()
	if i := slices.IndexFunc(members, func(m Member) bool { return m.Node == node }); i >= 0 {
		return members[i]
	}
	return Member{}
}

func sees(g, other *Gossip) bool { return find(g, other.opts.Node).Alive }

// meet waits until every node sees every other.
func meet(t *testing.T, nodes ...*Gossip) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, a := range nodes {
			for _, b := range nodes {
				if !sees(a, b) {
					return false
				}
			}
		}
		return true
	}, soon, step)
}

func TestMembersSeeEachOtherAndWhatEachSays(t *testing.T) {
	t.Parallel()
	key := newKey()
	a := start(t, options(key), func(g *Gossip) { g.Say(Meta{Name: "pi-1", Address: "192.0.2.1:7947", Role: "manager", Rev: 7}) })
	b := start(t, options(key, a))
	c := start(t, options(key, b))
	meet(t, a, b, c)
	require.Equal(t, Meta{Name: "pi-1", Address: "192.0.2.1:7947", Role: "manager", Rev: 7}, find(c, a.opts.Node).Meta)
	require.Equal(t, gossipAddress(a), find(c, a.opts.Node).Gossip)

	said := Meta{Name: "pi-3", Role: "node", Rev: 42, Epoch: 3, Database: true, Hosts: true, Version: "0.9.0", KeyRev: 2}
	c.Say(Meta{Name: "pi-3", Rev: 41})
	c.Say(said)
	for _, g := range []*Gossip{a, b, c} {
		require.Eventually(t, func() bool { return find(g, c.opts.Node).Meta == said }, soon, step)
	}

	c.Stop()
	for _, g := range []*Gossip{a, b} {
		require.Eventually(t, func() bool { return !sees(g, c) }, soon, step)
		gone := find(g, c.opts.Node)
		require.Equal(t, said, gone.Meta, "who left is still listed")
		require.WithinDuration(t, time.Now(), gone.Since, soon)
	}
}

func TestAPartitionHeals(t *testing.T) {
	t.Parallel()
	key := newKey()
	var cut atomic.Bool
	var lonely netip.Addr
	apart := func(g *Gossip) {
		g.timing.forget = time.Second
		g.wrap = func(inner memberlist.NodeAwareTransport) memberlist.NodeAwareTransport {
			return &breakable{NodeAwareTransport: inner, broken: func(to string) bool {
				here := netip.MustParseAddr(g.opts.Bind) == lonely
				there := netip.MustParseAddrPort(to).Addr() == lonely
				return cut.Load() && here != there
			}}
		}
	}
	o := options(key)
	lonely = netip.MustParseAddr(o.Bind)
	a := start(t, o, apart)
	b := start(t, options(key, a), apart)
	c := start(t, options(key, a), apart)
	meet(t, a, b, c)

	cut.Store(true)
	require.Eventually(t, func() bool { return !sees(a, b) && !sees(a, c) && !sees(b, a) && !sees(c, a) }, time.Minute, step, "each half forgets the other")
	require.True(t, sees(b, c) && sees(c, b), "the others stay together")
	require.Eventually(t, func() bool { return time.Since(find(a, b.opts.Node).Since) > 3*time.Second }, soon, step, "memberlist tells the other half no news any more")
	cut.Store(false)
	meet(t, a, b, c)
}

// breakable is a network that can be cut.
type breakable struct {
	memberlist.NodeAwareTransport
	broken func(to string) bool
}

func (b *breakable) WriteToAddress(buf []byte, to memberlist.Address) (time.Time, error) {
	if b.broken(to.Addr) {
		return time.Now(), nil // lost, as packets are
	}
	return b.NodeAwareTransport.WriteToAddress(buf, to)
}

func (b *breakable) DialAddressTimeout(to memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if b.broken(to.Addr) {
		return nil, os.ErrDeadlineExceeded
	}
	return b.NodeAwareTransport.DialAddressTimeout(to, timeout)
}

func TestANodeComesBackUnderAnotherAddress(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Gossip){"after it left": (*Gossip).Stop, "after a crash": crash} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := newKey()
			a := start(t, options(key))
			old := options(key, a)
			b := start(t, old)
			c := start(t, options(key, a))
			meet(t, a, b, c)
			end(b)

			moved := old
			moved.Bind = loopback()
			b = start(t, moved)
			require.Eventually(t, func() bool {
				here, there := find(a, old.Node), find(c, old.Node)
				return here.Alive && there.Alive && here.Gossip == gossipAddress(b) && there.Gossip == here.Gossip && sees(b, a) && sees(b, c)
			}, soon, step)
		})
	}
}

func TestAnAddressThatChangesIsFollowed(t *testing.T) {
	t.Parallel()
	key := newKey()
	a := start(t, options(key))
	o := options(key, a)
	var address atomic.Value
	address.Store(netip.MustParseAddr(o.Bind))
	o.Port++ // it listens everywhere
	o.Bind, o.Advertise = "0.0.0.0", "board.example"
	o.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{address.Load().(netip.Addr)}, nil
	}
	b := start(t, o, func(g *Gossip) { g.timing.rejoin = 200 * time.Millisecond })
	meet(t, a, b)

	moved := netip.MustParseAddr(loopback())
	address.Store(moved)
	require.Eventually(t, func() bool {
		m := find(a, o.Node)
		return m.Alive && m.Gossip == netip.AddrPortFrom(moved, uint16(o.Port)).String() && sees(b, a)
	}, soon, step)
}

func TestTheSameIDTwiceIsReported(t *testing.T) {
	t.Parallel()
	key := newKey()
	a := start(t, options(key))
	b := start(t, options(key, a))
	meet(t, a, b)
	address, since := b.Twin()
	require.Empty(t, address)
	require.Zero(t, since)

	copied := options(key, a)
	copied.Node = b.opts.Node
	twin := start(t, copied)
	require.Eventually(t, func() bool {
		address, since := twin.Twin()
		return address == gossipAddress(b) && time.Since(since) < soon
	}, soon, step)
	require.Equal(t, gossipAddress(b), find(a, b.opts.Node).Gossip, "the first one stays the member")
}

func TestChangedMayCallEverything(t *testing.T) {
	t.Parallel()
	key := newKey()
	var g *Gossip
	var most atomic.Int32
	ready := make(chan struct{})
	o := options(key)
	o.Changed = func() {
		<-ready
		most.Store(max(most.Load(), int32(len(g.Members()))))
		g.Say(Meta{Rev: int64(most.Load())})
		_ = g.UseKeys([][]byte{key})
	}
	g = start(t, o)
	close(ready)
	other := start(t, options(key, g))
	meet(t, g, other)
	require.Eventually(t, func() bool { return most.Load() == 2 && find(other, g.opts.Node).Meta.Rev == 2 }, soon, step)

	// One that never returns stops nobody but itself.
	release := make(chan struct{})
	defer close(release)
	o = options(key, g)
	o.Changed = func() { <-release }
	hung := start(t, o)
	meet(t, g, other, hung)
	begin := time.Now()
	hung.Stop()
	require.Less(t, time.Since(begin), 5*time.Second)
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	key := newKey()
	// A peer that accepts and never answers, and one that is not there.
	mute, err := net.Listen("tcp", net.JoinHostPort(loopback(), "0"))
	require.NoError(t, err)
	defer mute.Close()
	o := options(key)
	o.Known = func() []string { return []string{mute.Addr().String(), "192.0.2.250:7946"} }
	g := start(t, o, func(g *Gossip) { g.timing.stream = time.Minute })
	conn, err := mute.Accept()
	require.NoError(t, err)
	defer conn.Close()
	idle, err := net.Dial("tcp", gossipAddress(g))
	require.NoError(t, err)
	defer idle.Close()

	begin := time.Now()
	g.Stop()
	g.Stop()
	require.Less(t, time.Since(begin), 5*time.Second)
	_, err = idle.Read(make([]byte, 1))
	require.Error(t, err, "the stream of a stranger is closed")
	again := start(t, o, func(g *Gossip) { g.timing.stream = time.Second })
	again.Stop()
	require.ErrorContains(t, again.Start(), "before")
	require.False(t, again.Members()[0].Alive)
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Options){
		"no node":     func(o *Options) { o.Node = "" },
		"no cluster":  func(o *Options) { o.Cluster = "" },
		"no key":      func(o *Options) { o.Keys = nil },
		"a short key": func(o *Options) { o.Keys = [][]byte{newKey(), []byte("short")} },
	} {
		o := options(newKey())
		spoil(&o)
		_, err := New(o)
		require.ErrorContains(t, err, "prepare gossip", name)
	}
	o := options(newKey())
	start(t, o)
	second, err := New(o)
	require.NoError(t, err)
	require.ErrorContains(t, second.Start(), "gossip_port")
	o.Bind = "pi-1.local"
	third, err := New(o)
	require.NoError(t, err)
	require.ErrorContains(t, third.Start(), "not an IP address")
}
