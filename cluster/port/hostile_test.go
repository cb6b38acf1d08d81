package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/cluster/identity"
)

// guarded is a port on which any handler that is reached fails the test.
func guarded(t testing.TB, o Options) *Port {
	t.Helper()
	p := listen(t, o)
	for _, proto := range []string{Join, RPC, Raft, Database} {
		p.Handle(proto, func(net.Conn, identity.Peer) { t.Error("a stranger reached the handler of " + proto) })
	}
	return p
}

func TestStrangersReachNoHandler(t *testing.T) {
	a := authority(t, clusterA)
	manager := member(t, a, node1, identity.Manager)
	p := guarded(t, Options{Identity: manager})
	old := clientConfig(manager, RPC)
	old.MaxVersion = tls.VersionTLS12
	for name, config := range map[string]*tls.Config{
		"no certificate":             clientConfig(nil, RPC),
		"no protocol":                clientConfig(manager),
		"unknown protocol":           clientConfig(manager, "h2"),
		"two protocols":              clientConfig(manager, Join, Raft),
		"the refusal's own protocol": clientConfig(manager, "picloud"),
		"TLS 1.2":                    old,
		"another cluster":            clientConfig(member(t, authority(t, clusterB), node1, identity.Manager), RPC),
		"same IDs, another root":     clientConfig(member(t, authority(t, clusterA), node1, identity.Manager), Raft),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tls.Dial("tcp", p.Addr().String(), config)
			if err != nil {
				return
			}
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
			greeting, err := io.ReadAll(c)
			if err == nil && len(greeting) > 0 {
				require.Equal(t, greetingOf(identity.ErrStranger), greeting[0])
			}
		})
	}
}

func TestDialSaysWhatIsThere(t *testing.T) {
	a := authority(t, clusterA)
	i := member(t, a, node2, identity.Node)
	good := listen(t, Options{Identity: member(t, a, node1, identity.Manager)})
	foreign := listen(t, Options{Identity: member(t, authority(t, clusterB), node1, identity.Manager)})
	later := func() time.Time { return time.Now().Add(200 * 24 * time.Hour) }
	strict := listen(t, Options{Identity: member(t, a, node1, identity.Manager), Now: later})
	bare, err := Listen("127.0.0.1:0", Options{Identity: member(t, a, node1, identity.Manager)})
	require.NoError(t, err)
	t.Cleanup(bare.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()
	plain := answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	silent := answering(t, "")
	secured := tlsServer(t, good.o.Identity)

	for name, c := range map[string]struct {
		addr string
		d    Dialer
		node string
		want error
		text string
	}{
		"another node":             {good.Addr().String(), Dialer{Identity: i}, node3, ErrOtherNode, node1},
		"another cluster":          {foreign.Addr().String(), Dialer{Identity: i}, "", identity.ErrStranger, clusterB},
		"certificate there is old": {good.Addr().String(), Dialer{Identity: i, Now: later}, "", identity.ErrExpired, "pi-1"},
		"certificate here is old":  {strict.Addr().String(), Dialer{Identity: i}, "", ErrLetIn, "the certificate ran out"},
		"no such protocol":         {bare.Addr().String(), Dialer{Identity: i}, "", ErrNotPiCloud, "not this protocol"},
		"plain text":               {plain, Dialer{Identity: i}, "", ErrNotPiCloud, "TLS"},
		"TLS of something else":    {secured, Dialer{Identity: i}, "", ErrNotPiCloud, ""},
		"nobody":                   {closed.Addr().String(), Dialer{Identity: i}, "", nil, "connection refused"},
		"silence":                  {silent, Dialer{Identity: i}, "", context.DeadlineExceeded, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := soon(t)
			if name == "silence" {
				short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
				ctx = short
			}
			conn, err := c.d.Dial(ctx, c.addr, RPC, c.node)
			require.Error(t, err)
			require.Nil(t, conn)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, "dial "+c.addr+" for "+RPC)
		})
	}
	c, err := Dialer{Identity: i, Now: func() time.Time { return time.Unix(0, 0) }}.Dial(soon(t), good.Addr().String(), RPC, node1)
	require.NoError(t, err, "a clock in 1970 keeps nobody out")
	c.Close()
}

// answering listens, and says text to everybody.
func answering(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			work.Go(func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
	return l.Addr().String()
}

// tlsServer has the certificate of a node, but knows no protocols.
func tlsServer(t *testing.T, i *identity.Identity) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*i.Certificate()}})
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			c.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		work.Wait()
	})
	return l.Addr().String()
}

// 1,000 connections of garbage, half of them held open, from an address of their
// own and from that of the good client.
func TestGarbageKeepsNobodyOut(t *testing.T) {
	a := authority(t, clusterA)
	var log buffer
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	d := Dialer{Identity: member(t, a, node2, identity.Node)}
	before := runtime.NumGoroutine()
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for n := range 1000 {
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+n%8))}}
		c, err := from.DialContext(soon(t), "tcp", p.Addr().String())
		require.NoError(t, err)
		switch n % 4 {
		case 0:
			fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %d\r\n\r\n", n)
		case 1:
			_, _ = c.Write([]byte{22, 3, 1, 255, 255, 1}) // a handshake that promises much
		case 2:
			c.Close()
			continue
		}
		held = append(held, c)
		if n%100 == 50 {
			good, err := d.Dial(soon(t), p.Addr().String(), RPC, node1)
			require.NoError(t, err, n)
			requireEcho(t, good)
			good.Close()
		}
	}
	p.table.mu.Lock()
	strangers := len(p.table.strangers)
	p.table.mu.Unlock()
	require.LessOrEqual(t, strangers, p.table.maxStrangers)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+2*p.table.maxStrangers }, 10*time.Second, 10*time.Millisecond, "connections that were put out have no goroutines")
	require.Equal(t, 1, log.lines(), log.String())
}

func TestAStalledHandshakeEnds(t *testing.T) {
	a := authority(t, clusterA)
	p := guarded(t, Options{Identity: member(t, a, node1, identity.Manager), handshake: 100 * time.Millisecond})
	for _, first := range []string{"", "\x16\x03\x01\x02\x00\x01", "GE"} {
		c, err := net.Dial("tcp", p.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(c, first)
		require.NoError(t, err)
		requireClosed(t, c)
		c.Close()
	}
}

func TestMembersAreBoundedToo(t *testing.T) {
	a := authority(t, clusterA)
	p := listen(t, Options{Identity: member(t, a, node1, identity.Manager), MaxConns: 8})
	greedy, modest := Dialer{Identity: member(t, a, node2, identity.Node)}, Dialer{Identity: member(t, a, node3, identity.Node)}
	var open []net.Conn
	for range 2 {
		c, err := greedy.Dial(soon(t), p.Addr().String(), RPC, "")
		require.NoError(t, err)
		open = append(open, c)
	}
	_, err := greedy.Dial(soon(t), p.Addr().String(), RPC, "")
	require.ErrorIs(t, err, ErrBusy, "a quarter for each node")
	require.ErrorIs(t, err, ErrLetIn)
	c, err := modest.Dial(soon(t), p.Addr().String(), RPC, "")
	require.NoError(t, err)
	c.Close()
	open[0].Close()
	require.Eventually(t, func() bool {
		c, err := greedy.Dial(soon(t), p.Addr().String(), RPC, "")
		if err == nil {
			open[0] = c
		}
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "a place that is left is free")
	for _, c := range open {
		c.Close()
	}
	require.Eventually(t, func() bool {
		p.table.mu.Lock()
		defer p.table.mu.Unlock()
		return len(p.table.members)+len(p.table.perNode)+len(p.table.strangers) == 0
	}, 10*time.Second, 10*time.Millisecond, "nothing is left in the table")
}

func TestSourcesAreCountedTogether(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1/32", "[::ffff:192.0.2.1]:1": "192.0.2.1/32",
		"[2001:db8::1]:1": "2001:db8::/64", "[2001:db8::2:0:0:1]:1": "2001:db8::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		require.NoError(t, err)
		require.Equal(t, want, sourceOf(tcp).String(), addr)
	}
	require.Zero(t, sourceOf(&net.UnixAddr{}))
	require.Zero(t, sourceOf(&net.TCPAddr{}))
}

// FuzzServe: whatever comes, the port ends the connection and no handler sees it.
func FuzzServe(f *testing.F) {
	a := authority(f, clusterA)
	i := member(f, a, node1, identity.Manager)
	p := guarded(f, Options{Identity: i, handshake: time.Second})
	for _, proto := range []string{Join, RPC} {
		f.Add(firstFlight(f, i, proto))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{22, 3, 1, 255, 255, 1})
	f.Fuzz(func(t *testing.T, sent []byte) {
		client, server := net.Pipe()
		c := newConn(server, tls.Server(server, p.config()))
		require.True(t, p.table.add(c))
		var work sync.WaitGroup
		work.Go(func() { p.serve(c) })
		work.Go(func() { _, _ = io.Copy(io.Discard, client) })
		_, _ = client.Write(sent)
		client.Close()
		work.Wait()
	})
}

// FuzzDial: whatever a server says, a dialer takes it for no node.
func FuzzDial(f *testing.F) {
	a := authority(f, clusterA)
	i := member(f, a, node1, identity.Manager)
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add([]byte{21, 3, 3, 0, 2, 2, 120})
	f.Fuzz(func(t *testing.T, answer []byte) {
		client, server := net.Pipe()
		var work sync.WaitGroup
		work.Go(func() { _, _ = io.Copy(io.Discard, server) })
		work.Go(func() {
			_, _ = server.Write(answer)
			server.Close()
		})
		config := clientConfig(i)
		_, _, err := shake(client, RPC, config, func([]*x509.Certificate) (identity.Peer, error) { return identity.Peer{}, identity.ErrStranger })
		require.Error(t, err)
		client.Close()
		work.Wait()
	})
}

// firstFlight returns what a client sends first.
func firstFlight(t testing.TB, i *identity.Identity, proto string) []byte {
	t.Helper()
	client, server := net.Pipe()
	var work sync.WaitGroup
	work.Go(func() { _ = tls.Client(client, clientConfig(i, proto)).Handshake() })
	flight := make([]byte, 64<<10)
	n, err := server.Read(flight)
	require.NoError(t, err)
	server.Close()
	work.Wait()
	return flight[:n]
}
