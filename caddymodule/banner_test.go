package caddymodule

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/agent"
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
	s.Memory = agent.MemoryStatus{Agent: 1 << 30, Transit: 80 << 20, Executors: 2 << 30, Machine: 4<<30 + 5}
	require.Contains(t, banner(s, 0), "memory:   agent 1GiB (GOMEMLIMIT) with 80MiB for bodies and values on their way, executors 2GiB, of 4GiB\n")
	s.Secrets = nil
	require.NotContains(t, banner(s, 0), "secrets:")
}
