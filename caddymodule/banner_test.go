package caddymodule

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/local"
)

// TestBanner pins the first screen of a node.
func TestBanner(t *testing.T) {
	s := agent.Status{NodeName: "pi-1", FunctionsURL: "http://localhost:8080", ControlURL: "http://localhost:8081"}
	require.Equal(t, "PiCloud node pi-1 ready in 1.9 s    functions http://localhost:8080/fn/…    control http://localhost:8081\ndatabase: none\n",
		banner(s, 1900*time.Millisecond))
	require.Equal(t, "loading the catalog", waiting(s))

	s.Database = &agent.DatabaseStatus{Folder: "/data/postgres", Version: "17.1"}
	s.Credentials, s.ClusterKey = "/data/credentials", "/data/cluster.key"
	text := banner(s, 0)
	require.Contains(t, text, "database: managed PostgreSQL 17.1 in /data/postgres          first-run admin token saved to /data/credentials (0600)\n")
	require.Contains(t, text, "secrets:  sealed with /data/cluster.key; keep a copy")

	s.Database = &agent.DatabaseStatus{}
	require.Contains(t, banner(s, 0), "database: PostgreSQL at the configured DSN")
	require.Equal(t, "loading the catalog", waiting(s))

	s.Database.Err, s.Secrets, s.ClusterKey = errors.New("nobody listens"), errors.New("no key"), ""
	require.Contains(t, banner(s, 0), "not reached yet; serving the copy on disk")
	require.Contains(t, banner(s, 0), "secrets:  not available on this node; `picloud doctor` says what to do\n")
	require.Equal(t, "nobody listens", waiting(s))
	require.Empty(t, hintOf(s))
	s.Database.Err = &picloud.Error{Code: picloud.CodeDatabaseDown, Detail: "the cluster has not invited this node", Hint: "run `picloud node invite`"}
	require.Contains(t, banner(s, 0), "\n          the cluster has not invited this node: run `picloud node invite`\n")
	s.Memory = agent.MemoryStatus{Agent: 1 << 30, Transit: 80 << 20, Executors: 2 << 30, Machine: 4<<30 + 5}
	require.Contains(t, banner(s, 0), "memory:   agent 1GiB (GOMEMLIMIT) with 80MiB for bodies and values on their way, executors 2GiB, of 4GiB\n")
	s.Secrets = nil
	require.NotContains(t, banner(s, 0), "secrets:")
}

// TestStateAgreesWithReadiness: `picloud status` calls a node ready only if GET /readyz does.
func TestStateAgreesWithReadiness(t *testing.T) {
	down := &agent.DatabaseStatus{Err: errors.New("nobody listens")}
	for _, tt := range []struct {
		now           agent.Status
		state, reason string
	}{
		{agent.Status{}, local.Ready, ""},
		{agent.Status{Unready: errors.New("no catalog")}, local.Starting, "loading the catalog"},
		{agent.Status{Database: down, Missing: []string{"database"}}, local.Degraded, "nobody listens"},
		{agent.Status{Database: &agent.DatabaseStatus{}, Missing: []string{"database", "disk_space"}}, local.Degraded, "it serves without database, disk_space"},
		{agent.Status{Database: down, Stale: 10*time.Minute + 20*time.Second}, local.Degraded, "nobody listens; what it serves may be 10m20s old"},
		{agent.Status{Missing: []string{"current_catalog"}, Stale: 49*time.Hour + 9*time.Second}, local.Degraded, "it serves without current_catalog; what it serves may be 49h0m old"},
	} {
		state, reason := stateOf(tt.now)
		require.Equal(t, tt.state, state)
		require.Contains(t, reason, tt.reason)
	}
}

// TestTheFirstScreenSaysWhatListensWhere: whoever starts a node in a café sees that
// others reach it, and how to keep them out.
func TestTheFirstScreenSaysWhatListensWhere(t *testing.T) {
	lan := []netip.Addr{netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("2001:db8::5")}
	for bind, want := range map[string]string{
		"":            "network:  functions on every interface, ports 8080 and 8443, so http://192.168.1.5:8080 and http://[2001:db8::5]:8080; PICLOUD_BIND=127.0.0.1 keeps them on this machine\n",
		"0.0.0.0":     "network:  functions on every interface, ports 8080 and 8443, so http://192.168.1.5:8080 and http://[2001:db8::5]:8080; PICLOUD_BIND=127.0.0.1 keeps them on this machine\n",
		"127.0.0.1":   "network:  this machine only, as bind says\n",
		"[::1]":       "network:  this machine only, as bind says\n",
		"localhost":   "network:  this machine only, as bind says\n",
		"192.168.1.5": "network:  functions on 192.168.1.5, as bind says; control on this machine only\n",
	} {
		c, err := environment{values: map[string]string{"data": "/srv/data", "bind": bind}}.configure("")
		require.NoError(t, err, bind)
		require.Equal(t, want, c.network(lan))
	}
	c, err := environment{values: map[string]string{"data": "/srv/my data", "bind": "192.168.1.5"}}.configure("")
	require.NoError(t, err)
	require.Equal(t, "http://192.168.1.5:8080", c.home.functionsURL(), "localhost does not answer there")
	require.Equal(t, "to stop:  Ctrl-C, or picloud stop --data '/srv/my data'\n", c.howToStop("/var/lib/picloud"))
	require.Equal(t, "to stop:  Ctrl-C, or picloud stop\n", c.howToStop("/srv/my data"))
	require.Empty(t, c.remarks(65536))
	require.Contains(t, c.remarks(128), "128 files and connections only")
}
