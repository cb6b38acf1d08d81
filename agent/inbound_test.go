package agent

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud/internal/testdb"
)

func TestInboundReadsWhatCame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(0, 300<<10).Draw(t, "size")
		limit := rapid.Int64Range(1, 300<<10).Draw(t, "limit")
		room := rapid.Int64Range(0, 1<<20).Draw(t, "room")
		declared := rapid.SampledFrom([]int64{-1, int64(size)}).Draw(t, "declared")
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		var src io.Reader = bytes.NewReader(body)
		if rapid.Bool().Draw(t, "with end") {
			src = iotest.DataErrReader(src) // as net/http does when it knows the length
		}
		memory := &transit{limit: room}
		in := inbounds.Get().(*inbound)
		err := in.read(src, declared, limit, memory)
		require.LessOrEqual(t, memory.used.Load(), room)
		switch {
		case errors.Is(err, errBodyNoRoom):
			require.Greater(t, int64(4*size), room, "a quarter of the memory always fits")
		case int64(size) > limit:
			require.ErrorIs(t, err, errBodyTooLarge)
		default:
			require.NoError(t, err)
			require.True(t, bytes.Equal(body, in.Bytes()), "the body as it was sent")
		}
		in.release(memory)
		require.Zero(t, memory.used.Load(), "all is given back")
	})
}

// TestAnnouncedBodiesCostNothing: a header is 200 bytes, the body that it
// announces may never come.
func TestAnnouncedBodiesCostNothing(t *testing.T) {
	in := new(inbound)
	memory := &transit{limit: 1 << 30}
	err := in.read(iotest.ErrReader(io.ErrUnexpectedEOF), 8<<20, 8<<20, memory)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, in.Cap(), 16<<10)
	in.release(memory)
}

// TestSlowClientsDoNotFillTheMemory: clients that ask for large answers and do
// not read them leave small calls alone, and the node within its bounds.
func TestSlowClientsDoNotFillTheMemory(t *testing.T) {
	const size = 7 << 20 // more than what the sockets between take
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t)).ready()
	a.transit.limit = 20 << 20
	a.deploy("large", `function handle(req) { return "x".repeat(7340032) }`)
	a.deploy("small", helloSource)

	for range 2 {
		conn, err := net.Dial("tcp", a.functions.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4<<10))
		_, err = conn.Write([]byte("GET /fn/default/large HTTP/1.1\r\nHost: x\r\n\r\n"))
		require.NoError(t, err)
		first := make([]byte, 12)
		_, err = io.ReadFull(conn, first)
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200", string(first))
	}
	require.GreaterOrEqual(t, a.transit.used.Load(), int64(2*size))

	resp, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/large", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, body, "PC1306")
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	resp, body = a.do(http.MethodPost, a.functions.URL+"/fn/default/small", strings.Repeat("x", size))
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "uploads count too")
	require.Contains(t, body, "PC1306")
	status, _ := a.call("small")
	require.Equal(t, http.StatusOK, status, "small calls go on")

	a.functions.CloseClientConnections()
	require.Eventually(t, func() bool { return a.transit.used.Load() == 0 }, 10*time.Second, time.Millisecond)
	resp, body = a.do(http.MethodGet, a.functions.URL+"/fn/default/large", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Len(t, body, size)
}
