package port

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/cluster/identity"
	"github.com/picloud/picloud/cluster/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	clusterA = "aaaaaaaa-0000-4000-8000-000000000000"
	clusterB = "bbbbbbbb-0000-4000-8000-000000000000"
	node1    = "11111111-0000-4000-8000-000000000000"
	node2    = "22222222-0000-4000-8000-000000000000"
	node3    = "33333333-0000-4000-8000-000000000000"
)

func authority(t testing.TB, cluster string) *identity.Authority {
	t.Helper()
	a, err := identity.NewAuthority(cluster, time.Now())
	require.NoError(t, err)
	return a
}

// member makes a node of the cluster.
func member(t testing.TB, a *identity.Authority, node string, role identity.Role) *identity.Identity {
	t.Helper()
	dir := t.TempDir()
	key, err := identity.MakeOrLoadKey(dir)
	require.NoError(t, err)
	leaf, err := a.Sign(identity.Request{Node: node, Name: "pi-" + node[:1], Role: role, CSR: key.CSR()}, time.Now())
	require.NoError(t, err)
	require.NoError(t, identity.Save(dir, leaf, a.Certificate()))
	i, err := identity.Load(dir)
	require.NoError(t, err)
	return i
}

// listen opens a port on loopback that echoes every protocol.
func listen(t testing.TB, o Options) *Port {
	t.Helper()
	p, err := Listen("127.0.0.1:0", o)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	for _, proto := range []string{Join, RPC, Raft, Database} {
		p.Handle(proto, echo)
	}
	return p
}

func echo(c net.Conn, _ identity.Peer) { _, _ = io.Copy(c, c) }

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func requireEcho(t testing.TB, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err := c.Write([]byte("hello"))
	require.NoError(t, err)
	var answer [5]byte
	_, err = io.ReadFull(c, answer[:])
	require.NoError(t, err)
	require.Equal(t, "hello", string(answer[:]))
}

func requireClosed(t testing.TB, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	_, err := io.Copy(io.Discard, c)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection is still open")
}

func TestWhoMayUseWhat(t *testing.T) {
	a := authority(t, clusterA)
	manager, serves := member(t, a, node1, identity.Manager), member(t, a, node2, identity.Node)
	got := make(chan identity.Peer, 1)
	ports := map[string]*Port{}
	for _, i := range []*identity.Identity{manager, serves} {
		p := listen(t, Options{Identity: i})
		for _, proto := range []string{Join, RPC, Raft, Database} {
			p.Handle(proto, func(c net.Conn, peer identity.Peer) {
				got <- peer
				echo(c, peer)
			})
		}
		ports[i.Peer().Node] = p
	}
	for _, c := range []struct {
		from     *identity.Identity
		to       string
		proto    string
		want     error
		byServer bool
	}{
		{serves, node1, RPC, nil, false},
		{serves, node1, Database, nil, false},
		{serves, node1, Raft, ErrRole, true},
		{manager, node1, Raft, nil, false},
		{manager, node2, Raft, ErrRole, false},
		{manager, node2, RPC, nil, false},
	} {
		conn, err := Dialer{Identity: c.from}.Dial(soon(t), ports[c.to].Addr().String(), c.proto, c.to)
		require.ErrorIs(t, err, c.want, c.proto)
		require.Equal(t, c.byServer, errors.Is(err, ErrLetIn))
		if c.want != nil {
			require.Nil(t, conn)
			require.ErrorContains(t, err, c.proto)
			require.ErrorContains(t, err, ports[c.to].Addr().String())
			continue
		}
		require.Equal(t, c.from.Peer(), <-got, "the handler knows the client")
		require.Equal(t, c.to, PeerOf(conn).Node, "and the client the server")
		requireEcho(t, conn)
		conn.Close()
	}
	conn, err := DialToken(soon(t), ports[node1].Addr().String(), a.Pin(), nil)
	require.NoError(t, err)
	require.Zero(t, <-got, "nobody is known to join")
	require.Equal(t, node1, PeerOf(conn).Node)
	requireEcho(t, conn)
	conn.Close()
	require.Zero(t, PeerOf(nil))
}

func TestJoinTrustsThePinOnly(t *testing.T) {
	a, b := authority(t, clusterA), authority(t, clusterB)
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager)})
	for name, pin := range map[string]token.Pin{"another cluster": b.Pin(), "same ID, another root": authority(t, clusterA).Pin(), "zero": {}} {
		_, err := DialToken(soon(t), p.Addr().String(), pin, nil)
		require.ErrorIs(t, err, identity.ErrStranger, name)
		require.ErrorContains(t, err, "not of the cluster that the token is of")
		require.ErrorContains(t, err, p.Addr().String())
	}
	conn, err := DialToken(soon(t), p.Addr().String(), a.Pin(), func() time.Time { return time.Unix(0, 0) })
	require.NoError(t, err, "a board that starts in 1970 joins")
	conn.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	_, err = DialToken(soon(t), closed.Addr().String(), a.Pin(), nil)
	require.ErrorIs(t, err, picloud.ErrUnavailable, "who joins waits until somebody answers")
}

func TestRemovedNodesAreRefusedOnBothEnds(t *testing.T) {
	a := authority(t, clusterA)
	var mu sync.Mutex
	removed := ""
	refused := func(node string) bool {
		mu.Lock()
		defer mu.Unlock()
		return node == removed
	}
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager), Refused: refused})
	gone, stays := Dialer{Identity: member(t, a, node2, identity.Node)}, Dialer{Identity: member(t, a, node3, identity.Node)}
	before, err := gone.Dial(soon(t), p.Addr().String(), RPC, "")
	require.NoError(t, err)
	requireEcho(t, before)
	other, err := stays.Dial(soon(t), p.Addr().String(), RPC, "")
	require.NoError(t, err)

	mu.Lock()
	removed = node2
	mu.Unlock()
	p.Drop(node2)
	requireClosed(t, before)
	before.Close()
	_, err = gone.Dial(soon(t), p.Addr().String(), RPC, "")
	require.ErrorIs(t, err, ErrRemoved)
	require.ErrorIs(t, err, ErrLetIn)
	requireEcho(t, other)
	other.Close()

	stays.Refused = func(node string) bool { return node == node1 }
	_, err = stays.Dial(soon(t), p.Addr().String(), RPC, "")
	require.ErrorIs(t, err, ErrRemoved)
	require.NotErrorIs(t, err, ErrLetIn, "the client itself does not want it")
}

func TestRenewalKeepsConnections(t *testing.T) {
	a := authority(t, clusterA)
	server, client := member(t, a, node1, identity.Manager), member(t, a, node2, identity.Node)
	peers := make(chan identity.Peer, 2)
	p := listen(t, Options{Identity: server})
	p.Handle(RPC, func(c net.Conn, peer identity.Peer) {
		peers <- peer
		echo(c, peer)
	})
	d := Dialer{Identity: client}
	old, err := d.Dial(soon(t), p.Addr().String(), RPC, node1)
	require.NoError(t, err)
	defer old.Close()
	requireEcho(t, old)
	for _, i := range []*identity.Identity{server, client} {
		leaf, err := a.Sign(identity.Request{Node: i.Peer().Node, Name: i.Peer().Name, Role: i.Peer().Role, CSR: i.CSR()}, time.Now())
		require.NoError(t, err)
		require.NoError(t, i.Replace(leaf, a.Certificate()))
	}
	requireEcho(t, old)
	fresh, err := d.Dial(soon(t), p.Addr().String(), RPC, node1)
	require.NoError(t, err)
	defer fresh.Close()
	require.NotEqual(t, PeerOf(old).Serial, PeerOf(fresh).Serial)
	require.Equal(t, server.Peer(), PeerOf(fresh))
	require.NotEqual(t, <-peers, client.Peer())
	require.Equal(t, client.Peer(), <-peers)
}

func TestAPanicStaysInItsConnection(t *testing.T) {
	a := authority(t, clusterA)
	var log buffer
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p.Handle(Database, func(net.Conn, identity.Peer) { panic("no database") })
	d := Dialer{Identity: member(t, a, node2, identity.Node)}
	c, err := d.Dial(soon(t), p.Addr().String(), Database, "")
	require.NoError(t, err)
	requireClosed(t, c)
	c.Close()
	c, err = d.Dial(soon(t), p.Addr().String(), RPC, "")
	require.NoError(t, err)
	requireEcho(t, c)
	c.Close()
	require.Contains(t, log.String(), "no database")
}

func TestHTTPServerOnTheListener(t *testing.T) {
	a := authority(t, clusterA)
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager)})
	l := p.Listener(RPC)
	type key struct{}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, PeerOf(c)) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.Context().Value(key{}).(identity.Peer).Node)
		}),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	d := Dialer{Identity: member(t, a, node2, identity.Node)}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return d.Dial(ctx, addr, RPC, "") }}
	answer, err := (&http.Client{Transport: transport}).Get("http://" + p.Addr().String())
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, node2, string(body))
	transport.CloseIdleConnections()
	require.NoError(t, server.Shutdown(soon(t)))
	serving.Wait()
	_, err = d.Dial(soon(t), p.Addr().String(), RPC, "")
	require.ErrorIs(t, err, ErrNotPiCloud, "the protocol is not spoken any more")
	c, err := d.Dial(soon(t), p.Addr().String(), Database, "")
	require.NoError(t, err, "the others are")
	c.Close()
}

// Close ends whatever is open, in any state, in time.
func TestCloseEndsEverything(t *testing.T) {
	a := authority(t, clusterA)
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager)})
	d := Dialer{Identity: member(t, a, node2, identity.Node)}
	flood := make(chan struct{}, 1)
	p.Handle(Database, func(c net.Conn, _ identity.Peer) { // a reader that is slow: this blocks in Write
		junk := make([]byte, 1<<20)
		for first := true; ; first = false {
			if _, err := c.Write(junk); err != nil {
				return
			}
			if first {
				flood <- struct{}{}
			}
		}
	})
	l := p.Listener(Raft)
	accepted := make(chan error, 1)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		_, err := l.Accept()
		accepted <- err
	})
	idle, err := d.Dial(soon(t), p.Addr().String(), RPC, "")
	require.NoError(t, err)
	defer idle.Close()
	slow, err := d.Dial(soon(t), p.Addr().String(), Database, "")
	require.NoError(t, err)
	defer slow.Close()
	go func() { _, _ = io.CopyN(io.Discard, slow, 2<<20) }()
	<-flood
	joining, err := DialToken(soon(t), p.Addr().String(), a.Pin(), nil)
	require.NoError(t, err)
	defer joining.Close()
	stalled, err := net.Dial("tcp", p.Addr().String())
	require.NoError(t, err)
	defer stalled.Close()
	requireEcho(t, idle) // while the slow one blocks

	begun := time.Now()
	p.Close()
	p.Close()
	require.Less(t, time.Since(begun), closeTime)
	require.ErrorIs(t, <-accepted, net.ErrClosed)
	accepting.Wait()
	for _, c := range []net.Conn{idle, joining, stalled} {
		requireClosed(t, c)
	}
	_, err = d.Dial(soon(t), p.Addr().String(), RPC, "")
	require.Error(t, err)
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	a := authority(t, clusterA)
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager), closing: 100 * time.Millisecond})
	release, begun := make(chan struct{}), make(chan struct{})
	p.Handle(RPC, func(net.Conn, identity.Peer) {
		close(begun)
		<-release // a handler that does not look at its connection
	})
	c, err := Dialer{Identity: member(t, a, node2, identity.Node)}.Dial(soon(t), p.Addr().String(), RPC, "")
	require.NoError(t, err)
	defer c.Close()
	<-begun
	start := time.Now()
	p.Close()
	require.Less(t, time.Since(start), closeTime)
	close(release)
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) lines() int { return strings.Count(b.String(), "\n") }

// clientConfig speaks to the port without the checks of a Dialer.
func clientConfig(i *identity.Identity, protos ...string) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: protos}
	if i != nil {
		config.Certificates = []tls.Certificate{*i.Certificate()}
	}
	return config
}
