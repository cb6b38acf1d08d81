package postgres

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSpokenNeverWaits: after a slow write pgx reads in the background, and goes on with
// it while the connection is idle.
func TestSpokenNeverWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()

	require.False(t, spoken(conn))
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		_, _ = conn.Read(make([]byte, 1))
	}()
	time.Sleep(50 * time.Millisecond) // until it reads
	answer := make(chan bool, 1)
	go func() { answer <- spoken(conn) }()
	select {
	case said := <-answer:
		require.False(t, said)
	case <-time.After(5 * time.Second):
		_ = server.Close() // ends both
		t.Fatal("it waits for the other reader")
	}

	_, err = server.Write([]byte("xy"))
	require.NoError(t, err)
	<-reading
	require.Eventually(t, func() bool { return spoken(conn) }, 5*time.Second, time.Millisecond, "something is left to read")
	_, err = conn.Read(make([]byte, 1))
	require.NoError(t, err)
	require.False(t, spoken(conn))
	require.NoError(t, server.Close())
	require.Eventually(t, func() bool { return spoken(conn) }, 5*time.Second, time.Millisecond, "the server has left")
}
