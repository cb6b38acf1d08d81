package agent

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// TestSlowClientsDoNotFillTheMemory: clients that ask for large answers and do
// not read them leave small calls alone, and the node within its bounds.
func TestSlowClientsDoNotFillTheMemory(t *testing.T) {
	const size = 7 << 20 // more than what the sockets between take
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), func(o *Options) { o.TransitMemory = 28 << 20 }).ready()
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
	require.GreaterOrEqual(t, a.bodies.Used(), int64(2*size))

	resp, body := a.do(http.MethodGet, a.functions.URL+"/fn/default/large", "")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, body, "PC1306")
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	resp, body = a.do(http.MethodPost, a.functions.URL+"/fn/default/small", strings.Repeat("x", size+512<<10))
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "uploads count too: the last quarter is for other apps")
	require.Contains(t, body, "PC1306")
	status, _ := a.call("small")
	require.Equal(t, http.StatusOK, status, "small calls go on")

	status, answer := a.api(http.MethodPut, "/apps/other/functions/small/code?create=true&deploy=true&wait=all", helloSource)
	require.Equal(t, http.StatusCreated, status, answer)
	resp, body = a.do(http.MethodPost, a.functions.URL+"/fn/other/small", strings.Repeat("x", 2<<20))
	require.Equal(t, http.StatusOK, resp.StatusCode, "an app leaves room to the others: %s", body)

	a.functions.CloseClientConnections()
	require.Eventually(t, func() bool { return a.bodies.Used() == 0 }, 10*time.Second, time.Millisecond)
	resp, body = a.do(http.MethodGet, a.functions.URL+"/fn/default/large", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Len(t, body, size)
}
