package gossip

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
)

// book collects the lines of a logger.
type book struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.Write(p)
}

func (b *book) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.String()
}

func (b *book) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestGarbageOnThePortHarmsNobody(t *testing.T) {
	t.Parallel()
	key := newKey()
	var heard book
	o := options(key)
	o.Logger = heard.logger()
	a := start(t, o)
	b := start(t, options(key, a))
	meet(t, a, b)

	label := append([]byte{244, byte(len(cluster))}, cluster...) // memberlist's header of the label
	udp, err := net.Dial("udp", gossipAddress(a))
	require.NoError(t, err)
	defer udp.Close()
	for i := range 2000 {
		packet := make([]byte, i%1400)
		_, _ = rand.Read(packet)
		if i%2 == 0 {
			packet = append(bytes.Clone(label), packet...)
		}
		_, _ = udp.Write(packet) // a full buffer is fine
	}
	var conns []net.Conn
	for i := range 40 { // more than one address may have, none of which closes
		conn, err := net.Dial("tcp", gossipAddress(a))
		require.NoError(t, err)
		defer conn.Close()
		conns = append(conns, conn)
		junk := make([]byte, 4096)
		_, _ = rand.Read(junk)
		if i%2 == 0 {
			junk = append(bytes.Clone(label), junk...)
		}
		if i%3 > 0 {
			_, _ = conn.Write(junk)
		}
	}
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(soon))
		_, err := conn.Read(make([]byte, 1024))
		if err == nil {
			_, err = conn.Read(make([]byte, 1024)) // memberlist may have said that it failed
		}
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "it is closed by the deadline of a stream")
	}
	c := start(t, options(key, a))
	meet(t, a, b, c)
	require.Len(t, a.Members(), 3)
	require.LessOrEqual(t, strings.Count(heard.text(), "memberlist="), 2*journalLines, "the lines are bounded")
}

func TestAWrongKeyOrClusterNeverMerges(t *testing.T) {
	t.Parallel()
	key := newKey()
	a := start(t, options(key))
	b := start(t, options(key, a))
	meet(t, a, b)
	foreign := options(key, a, b)
	foreign.Cluster = strings.Replace(cluster, "c001", "c002", 1)
	locked := options(newKey(), a, b)
	strangers := []*Gossip{start(t, foreign), start(t, locked)}
	// Each stranger has tried every peer twice when as many joins have failed.
	for _, stranger := range strangers {
		k := &keeper{g: stranger, strikes: map[netipAddrPort]int{}, aliases: map[netipAddrPort]bool{}}
		for range 2 {
			k.join(t.Context())
		}
		require.Len(t, k.strikes, 2)
		require.Empty(t, k.aliases)
		require.Len(t, stranger.Members(), 1)
	}
	require.Len(t, a.Members(), 2)
	require.Len(t, b.Members(), 2)
}

func TestKeysRotateWhileANodeIsOff(t *testing.T) {
	t.Parallel()
	first, second := newKey(), newKey()
	a := start(t, options(first))
	b := start(t, options(first, a))
	o := options(first, a, b)
	off := start(t, o)
	meet(t, a, b, off)
	off.Stop()

	for _, keys := range [][][]byte{{first, second}, {second, first}, {second}} {
		for _, g := range []*Gossip{a, b} {
			require.NoError(t, g.UseKeys(keys))
			g.Say(Meta{Rev: int64(len(keys)), KeyRev: int(keys[0][0])})
		}
		require.Eventually(t, func() bool {
			return find(a, b.opts.Node).Meta == find(b, b.opts.Node).Meta && find(b, a.opts.Node).Meta == find(a, a.opts.Node).Meta
		}, soon, step)
		require.True(t, sees(a, b) && sees(b, a), "no member is lost on the way")
	}
	back := start(t, o)
	k := &keeper{g: back, strikes: map[netipAddrPort]int{}, aliases: map[netipAddrPort]bool{}}
	k.join(t.Context())
	require.Len(t, back.Members(), 1, "with the old key it hears nobody")
	require.NoError(t, back.UseKeys([][]byte{second})) // which it gets over mTLS
	meet(t, a, b, back)
}

func TestKeysChangeWhileOthersReadThem(t *testing.T) {
	t.Parallel()
	a, b, c := newKey(), newKey(), newKey()
	k, err := newKeyring([][]byte{a, b, c})
	require.NoError(t, err)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, key := range k.ring.GetKeys() {
				require.Len(t, key, 32)
			}
		}
	})
	for _, keys := range [][][]byte{{a, c}, {c}, {b, c, a}, {a}, {b, a}, {b}} {
		require.NoError(t, k.use(keys))
		require.Equal(t, keys, k.ring.GetKeys())
	}
	require.Error(t, k.use(nil))
	require.Error(t, k.use([][]byte{a, nil}))
	require.Equal(t, [][]byte{b}, k.ring.GetKeys(), "what is refused changes nothing")
	close(stop)
	wg.Wait()
}

func TestAnIdleNodeWritesNoLine(t *testing.T) {
	t.Parallel()
	key := newKey()
	var heard book
	often := func(g *Gossip) { g.timing.pushPull = 100 * time.Millisecond }
	o := options(key)
	a := start(t, o, often)
	o = options(key, a)
	o.Logger = heard.logger()
	b := start(t, o, often)
	meet(t, a, b)
	// The second node lives through many exchanges of everything and some rounds of its keeper.
	var counts counter
	a.Say(Meta{Rev: 1})
	require.Eventually(t, func() bool { return find(b, a.opts.Node).Meta.Rev == 1 && counts.tick() > 100 }, soon, step)
	require.Empty(t, heard.text())
}

type counter int

func (c *counter) tick() int { *c++; return int(*c) }

func TestTheJournalIsBounded(t *testing.T) {
	t.Parallel()
	var heard book
	j := &journal{log: heard.logger()}
	for range 1000 {
		_, err := j.Write([]byte(stamp + "[ERR] memberlist: " + strings.Repeat("x", 5000) + "\n"))
		require.NoError(t, err)
	}
	require.Equal(t, journalLines, strings.Count(heard.text(), "\n"))
	require.Less(t, len(heard.text()), journalLines*500)
	j.window = j.window.Add(-2 * journalWindow)
	_, _ = j.Write([]byte(stamp + "[ERR] memberlist: again\n"))
	require.Contains(t, heard.text(), "count=980")

	quiet := &journal{log: slog.New(slog.NewTextHandler(&heard, nil))}
	_, _ = quiet.Write([]byte(stamp + "[ERR] memberlist: silent\n"))
	require.NotContains(t, heard.text(), "silent", "only debug shows them")
}

func TestALiarCostsABoundedAmount(t *testing.T) {
	t.Parallel()
	r := newRoster("self")
	node := func(i int) *memberlist.Node {
		return &memberlist.Node{Name: nodeID(), Addr: net.IPv4(10, 0, byte(i>>8), byte(i)).To4(), Port: 7946}
	}
	for i := range maxMembers {
		n := node(i)
		require.NoError(t, r.NotifyAlive(n))
		r.NotifyJoin(n)
	}
	require.Error(t, r.NotifyAlive(node(0)), "one too many")
	gone := r.list()[0]
	r.NotifyLeave(&memberlist.Node{Name: gone.Node, Addr: net.IPv4(10, 0, 0, 1), Port: 7946})
	next := node(1)
	require.NoError(t, r.NotifyAlive(next))
	r.NotifyJoin(next)
	require.Len(t, r.list(), maxMembers, "the one that left makes room")

	for name, bad := range map[string]func(*memberlist.Node){
		"no address":         func(n *memberlist.Node) { n.Addr = nil },
		"an odd address":     func(n *memberlist.Node) { n.Addr = []byte{1, 2, 3} },
		"every address":      func(n *memberlist.Node) { n.Addr = net.IPv4zero },
		"a multicast one":    func(n *memberlist.Node) { n.Addr = net.IPv4(224, 0, 0, 251) },
		"no port":            func(n *memberlist.Node) { n.Port = 0 },
		"no id":              func(n *memberlist.Node) { n.Name = "" },
		"a long id":          func(n *memberlist.Node) { n.Name = strings.Repeat("a", maxName+1) },
		"control characters": func(n *memberlist.Node) { n.Name = "pi\x1b[2J" },
		"a long meta":        func(n *memberlist.Node) { n.Meta = make([]byte, 513) },
	} {
		n := node(1)
		bad(n)
		require.Error(t, newRoster("self").NotifyAlive(n), name)
	}
}
