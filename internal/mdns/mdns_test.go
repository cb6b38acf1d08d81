package mdns

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/picloud/picloud"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ports atomic.Int32

// loop is a network of this machine's loopback, on a port that no other test uses.
func loop() *link {
	return &link{port: 32000 + os.Getpid()%20000 + int(ports.Add(1)), interfaces: func() ([]net.Interface, error) {
		all, err := net.Interfaces()
		for _, i := range all {
			if i.Flags&net.FlagLoopback != 0 {
				return []net.Interface{i}, nil
			}
		}
		return nil, err
	}}
}

func announce(t *testing.T, l *link, name string, port int) *Announcer {
	t.Helper()
	a, err := New(Options{Name: name, Cluster: "home", Port: port})
	require.NoError(t, err)
	a.link = l
	require.NoError(t, a.Start())
	t.Cleanup(a.Stop)
	return a
}

func TestANodeIsFoundByItsName(t *testing.T) {
	t.Parallel()
	l := loop()
	announce(t, l, "pi-1", 7947)
	announce(t, l, "pi-2", 7947)
	for _, name := range []string{"pi-1.local", "PI-1.Local."} {
		begin := time.Now()
		found, err := l.lookup(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, netip.MustParseAddr("127.0.0.1"), found[0])
		require.Less(t, time.Since(begin), patience, "it does not wait until the end")
	}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := l.lookup(ctx, "pi-3.local")
	require.ErrorIs(t, err, picloud.ErrNotFound)
	require.ErrorContains(t, err, "nobody answers")
	for _, name := range []string{"", ".local", "pi-1", "pi-1.example.org", "a..local", "a b.local", string(make([]byte, 70)) + ".local"} {
		_, err := l.lookup(t.Context(), name)
		require.ErrorContains(t, err, "not a name that ends in .local", name)
	}
}

func TestNodesAreDiscovered(t *testing.T) {
	t.Parallel()
	l := loop()
	first, second := announce(t, l, "pi-1", 7947), announce(t, l, "Küche 2", 7948)
	discover := func() []Peer {
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		found, err := l.discover(ctx)
		require.NoError(t, err)
		for i := range found {
			require.Contains(t, found[i].Addresses, netip.MustParseAddr("127.0.0.1"))
			found[i].Addresses = nil
		}
		return found
	}
	require.Equal(t, []Peer{
		{Name: "k-che-2", Cluster: "home", Host: "k-che-2.local", Port: 7948},
		{Name: "pi-1", Cluster: "home", Host: "pi-1.local", Port: 7947},
	}, discover())
	second.Stop()
	require.Len(t, discover(), 1)
	first.Stop()
	first.Stop()
	require.Empty(t, discover())
}

// TestAnybodyMayBrowse speaks as other software does: from port 5353, to the group.
func TestAnybodyMayBrowse(t *testing.T) {
	t.Parallel()
	l := loop()
	interfaces, err := l.interfaces()
	require.NoError(t, err)
	conn, err := net.ListenMulticastUDP("udp4", &interfaces[0], &net.UDPAddr{IP: group4.AsSlice(), Port: l.port})
	require.NoError(t, err)
	s := newSocket(conn, false, l.port)
	defer conn.Close()
	heard := make(chan dnsmessage.Message, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, longestMessage)
		for {
			n, _, _, err := s.receive(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) == nil && m.Response {
				heard <- m
			}
		}
	}()
	next := func() dnsmessage.Message {
		select {
		case m := <-heard:
			return m
		case <-time.After(10 * time.Second):
			require.FailNow(t, "nothing was heard")
			return dnsmessage.Message{}
		}
	}
	node := announce(t, l, "pi-1", 7947)
	m := next()
	require.EqualValues(t, lasting, m.Answers[0].Header.TTL, "it tells that it is there")
	next() // the second time
	q, err := question{{Name: dnsmessage.MustNewName(services), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}}.pack(0)
	require.NoError(t, err)
	require.NoError(t, s.send(q, &interfaces[0]))
	m = next()
	require.Zero(t, m.ID)
	require.Empty(t, m.Questions)
	require.Equal(t, service, m.Answers[0].Body.(*dnsmessage.PTRResource).PTR.String())
	node.Stop()
	require.Zero(t, next().Answers[0].Header.TTL, "it says goodbye")
	conn.Close()
	<-done
}

func TestAStormIsAnsweredWithinBounds(t *testing.T) {
	t.Parallel()
	a, err := New(Options{Name: "pi-1", Port: 1})
	require.NoError(t, err)
	replies := 0
	for range 10000 {
		if a.mayReply() {
			replies++
		}
	}
	require.LessOrEqual(t, replies, replyBurst+repliesPerSec)
	a.refilled = a.refilled.Add(-time.Second)
	require.True(t, a.mayReply(), "later it answers again")
}

func TestHostileAnswersAreHarmless(t *testing.T) {
	t.Parallel()
	l := loop()
	interfaces, err := l.interfaces()
	require.NoError(t, err)
	conn, err := net.ListenMulticastUDP("udp4", &interfaces[0], &net.UDPAddr{IP: group4.AsSlice(), Port: l.port})
	require.NoError(t, err)
	s := newSocket(conn, false, l.port)
	done := make(chan struct{})
	go func() { // answers each question with everything that is wrong
		defer close(done)
		buf := make([]byte, longestMessage)
		for {
			n, _, from, err := s.receive(buf)
			if err != nil {
				return
			}
			for _, answer := range hostile(buf[:n]) {
				_, _ = conn.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	found, err := l.discover(ctx)
	require.NoError(t, err)
	require.Empty(t, found)
	ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = l.lookup(ctx, "pi-1.local")
	require.ErrorContains(t, err, "nobody answers")
	conn.Close()
	<-done
}

// hostile are answers to a question that no node may believe.
func hostile(question []byte) [][]byte {
	var p dnsmessage.Parser
	header, err := p.Start(question)
	if err != nil {
		return nil
	}
	id := []byte{byte(header.ID >> 8), byte(header.ID)}
	looped := append(append([]byte{}, id...), 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12)
	greedy := append(append([]byte{}, id...), 0x84, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3, 'a', 'b', 'c', 0, 0, 16, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 1)
	huge := append(append([]byte{}, id...), make([]byte, 30000)...)
	huge[2] = 0x84
	host := dnsmessage.MustNewName("pi-1.local.")
	answer := func(id uint16, name dnsmessage.Name, body dnsmessage.ResourceBody) []byte {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, Response: true}, Answers: []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 9}, Body: body}}}
		b, _ := m.Pack()
		return b
	}
	return [][]byte{
		{},
		id, looped, greedy, huge, question,
		answer(header.ID+1, host, &dnsmessage.AResource{A: [4]byte{127, 0, 0, 9}}), // another question
		answer(header.ID, host, &dnsmessage.AResource{}),
		answer(header.ID, host, &dnsmessage.AResource{A: [4]byte{224, 0, 0, 1}}),
		answer(header.ID, dnsmessage.MustNewName("pi-9.local."), &dnsmessage.AResource{A: [4]byte{127, 0, 0, 9}}),
		answer(header.ID, dnsmessage.MustNewName(service), &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("x._http._tcp.local.")}),
		answer(header.ID, dnsmessage.MustNewName("x._http._tcp.local."), &dnsmessage.SRVResource{Target: host, Port: 1}),
		answer(header.ID, dnsmessage.MustNewName("x."+service), &dnsmessage.SRVResource{Target: dnsmessage.MustNewName("."), Port: 1}),
	}
}

func TestStrangersAreNotNeighbours(t *testing.T) {
	t.Parallel()
	require.True(t, neighbour(netip.MustParseAddr("127.9.9.9")))
	require.True(t, neighbour(netip.MustParseAddr("::ffff:127.0.0.1")))
	require.True(t, neighbour(netip.MustParseAddr("fe80::1%lo")))
	require.False(t, neighbour(netip.MustParseAddr("8.8.8.8")))
	require.False(t, neighbour(netip.MustParseAddr("2001:db8::1")))
}

func TestResolve(t *testing.T) {
	t.Parallel()
	found, err := Resolve(t.Context(), "192.0.2.7")
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.7")}, found)
	found, err = Resolve(t.Context(), "localhost")
	require.NoError(t, err)
	require.True(t, found[0].IsLoopback())
	require.True(t, IsLocal("Pi-1.LOCAL."))
	require.False(t, IsLocal("local"))
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Name: "pi-1"}, {Name: "…", Port: 1}, {Name: "pi-1", Port: 70000}} {
		_, err := New(o)
		require.Error(t, err)
	}
	a, err := New(Options{Name: string(make([]byte, 300)) + "x", Port: 1, Cluster: "a\x1b[2Jb"})
	require.Error(t, err, "nothing is left of it")
	require.Nil(t, a)
	a, err = New(Options{Name: "X", Port: 1, Cluster: "a\x1b[2Jb"})
	require.NoError(t, err)
	require.Equal(t, []string{"cluster=a[2Jb"}, a.records.txt)
	a.link = &link{interfaces: func() ([]net.Interface, error) { return nil, nil }}
	require.ErrorIs(t, a.Start(), errNoInterface)
	a.Stop()
}
