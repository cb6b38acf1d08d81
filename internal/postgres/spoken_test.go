package postgres

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSpokenNeverWaits: pgx may read in the background while the pool hands the
// connection out.
func TestSpokenNeverWaits(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer listener.Close()
	conn, err := net.Dial("unix", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	server, err := listener.Accept()
	require.NoError(t, err)
	defer server.Close()

	require.False(t, spoken(conn), "nobody said anything")
	_, err = server.Write([]byte("bye"))
	require.NoError(t, err)
	require.True(t, spoken(conn))
	require.True(t, spoken(conn), "what was said is still there")
	word := make([]byte, 3)
	_, err = conn.Read(word)
	require.NoError(t, err)
	require.Equal(t, "bye", string(word))

	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(word)
		read <- err
	}()
	answer := make(chan bool, 1)
	for range 100 { // some of them meet the reader
		go func() { answer <- spoken(conn) }()
		select {
		case said := <-answer:
			require.False(t, said)
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for the reader")
		}
		runtime.Gosched() // to the reader
	}
	require.NoError(t, server.Close())
	require.Error(t, <-read)
	require.True(t, spoken(conn), "the server is gone")
}
