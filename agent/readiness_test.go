package agent

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// TestANameIsRefusedToASecondNode says who has it and what to do, serves what the node
// has, and takes the name over when it is free.
func TestANameIsRefusedToASecondNode(t *testing.T) {
	dsn, dir := testdb.DSN(t), testdb.Dir(t)
	b := startAgent(t, dir, dsn).ready()
	b.deploy("hello", helloSource)
	b.Stop()
	a := startAgent(t, testdb.Dir(t), dsn) // the name is free: b said that it stops
	require.Eventually(t, func() bool { return a.database.closed() == nil }, 30*time.Second, 5*time.Millisecond)
	b = startAgent(t, dir, dsn)
	<-b.DatabaseSettled()
	status, _ := b.call("hello")
	require.Equal(t, http.StatusOK, status, "it serves on")
	resp, body := b.do(http.MethodGet, b.control.URL+"/api/v1/apps", "", "Authorization", "Bearer x")
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, body, "the name pi-1 belongs to another node that is alive")
	require.Contains(t, body, a.identity.ID)
	require.Contains(t, body, "PICLOUD_NODE_NAME")
	resp, body = b.do(http.MethodGet, b.control.URL+"/readyz", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.JSONEq(t, `{"status":"degraded","missing":["database"]}`, body)

	a.Stop()
	require.Eventually(t, func() bool { return b.database.closed() == nil }, 30*time.Second, 5*time.Millisecond)
	resp, body = b.do(http.MethodGet, b.control.URL+"/readyz", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NotContains(t, body, "database")
}
