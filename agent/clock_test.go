package agent

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/cluster/port"
	"github.com/picloud/picloud/internal/testdb"
)

// TestClocks: a board whose clock begins in 1970 joins and serves, and the clocks of two members
// are set forward and back by an hour and a day while they run. They know each other, open new
// connections in both directions, and take deploys. Only certificates ask that clock here; the
// suite of whole clusters has a test that moves the clock of the whole program.
func TestClocks(t *testing.T) {
	var first, second atomic.Int64
	a := startAgent(t, testdb.Dir(t), "", onPorts(t), at(&first)).ready()
	a.deploy("hello", helloSource)
	second.Store(int64(-time.Since(time.Unix(0, 0))))
	b := a.served("pi-2", at(&second))
	b.token = a.token
	_, body := b.call("hello")
	require.JSONEq(t, `{"hello":"world"}`, body)
	require.False(t, b.cluster.Expired())
	require.WithinDuration(t, time.Now(), b.cluster.Now(), 60*24*time.Hour, "it takes no time before that of its build")

	dials := func(from, to *testAgent) {
		t.Helper()
		conn, err := from.cluster.Dial(t.Context(), to.identity.ID, port.RPC)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	epoch := a.election.epoch.Load()
	for _, off := range []time.Duration{0, time.Hour, -time.Hour, day, -day} {
		for _, clock := range []*atomic.Int64{&first, &second} {
			clock.Store(int64(off))
			dials(a, b)
			dials(b, a)
			status, body := b.api(http.MethodPut, "/apps/default/functions/f/code?create=true&deploy=true&wait=all", `function handle(req) { return "`+off.String()+`" }`)
			require.Contains(t, []int{http.StatusOK, http.StatusCreated}, status, body)
			for _, n := range []*testAgent{a, b} {
				_, body = n.call("f")
				require.Equal(t, off.String(), body)
			}
			require.Len(t, b.cluster.Members(), 2)
		}
	}
	require.True(t, a.manages())
	require.Equal(t, epoch, a.election.epoch.Load(), "the manager stayed")
}
