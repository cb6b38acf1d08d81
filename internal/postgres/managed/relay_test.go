package managed_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/postgres"
	"github.com/picloud/picloud/internal/postgres/managed"
	"github.com/picloud/picloud/internal/postgres/store"
	"github.com/picloud/picloud/internal/testdb"
)

// relayed serves a server's relay on a socket, and returns how to dial it.
func relayed(t *testing.T, s *managed.Server, role string) (dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	relay := s.Relay()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = relay.Serve(ctx, conn, role) })
		}
	})
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}
}

// TestAnotherNodeUsesTheDatabase: all that a node does with its database goes through the
// relay, and nothing else does.
func TestAnotherNodeUsesTheDatabase(t *testing.T) {
	s := newServer(t, managed.Options{DataDir: testdb.Dir(t)})
	start(t, s)
	db, err := store.Open(postgres.Options{DSN: managed.DSN, Dial: relayed(t, s, "picloud")})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	require.NoError(t, db.Migrate(t.Context()))
	heard := make(chan string, 1024)
	listener := db.Listen([]string{postgres.NodeChannel}, func(channel, _ string) { heard <- channel })
	require.NoError(t, listener.Start(t.Context()))
	defer listener.Stop()
	rev := int64(0)
	require.Eventually(t, func() bool { // the listener connects by itself, and hears what comes after that
		rev++
		require.NoError(t, db.Nodes().Report(t.Context(), picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-1", Rev: rev}))
		select {
		case channel := <-heard:
			return channel == postgres.NodeChannel
		default:
			return false
		}
	}, 10*time.Second, 10*time.Millisecond)

	// A query that its caller gives up ends on the server too.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = db.API().Exec(ctx, `SELECT pg_sleep(60)`)
	require.Error(t, err)

	other, err := store.Open(postgres.Options{DSN: managed.DSN, Dial: relayed(t, s, "picloud_n_1")})
	require.NoError(t, err)
	t.Cleanup(other.Close)
	err = other.Migrate(t.Context())
	require.ErrorContains(t, err, "has the role picloud_n_1")

	stop(t, s)
	require.Error(t, db.Ping(t.Context()))
	start(t, s)
	require.NoError(t, db.Ping(t.Context()), "the way is open again")
}

func TestRelayRefusesWhatIsNotPostgres(t *testing.T) {
	s := newServer(t, managed.Options{DataDir: testdb.Dir(t)})
	dial := relayed(t, s, "picloud")
	for name, message := range map[string]string{
		"http": "GET / HTTP/1.1\r\nHost: pi-1\r\n\r\n", "short": "\x00\x00\x00\x04\x00\x00\x00\x00", "huge": "\xff\xff\xff\xff\x00\x03\x00\x00",
		"no parameters": "\x00\x00\x00\x08\x00\x03\x00\x00", "only requests": "\x00\x00\x00\x08\x04\xd2\x16\x2f\x00\x00\x00\x08\x04\xd2\x16\x2f\x00\x00\x00\x08\x04\xd2\x16\x2f",
	} {
		conn, err := dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		_, err = conn.Write([]byte(message))
		require.NoError(t, err)
		buffer := make([]byte, 1<<10)
		for err == nil {
			_, err = conn.Read(buffer)
		}
		require.NotErrorIs(t, err, context.DeadlineExceeded, name)
		require.NoError(t, conn.Close())
	}
}
