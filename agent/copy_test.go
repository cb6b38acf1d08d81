package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// TestACopyOfADataFolderIsRefused: two processes have one id and one database. The node
// that was first goes on; the copy says what it is, and what to do.
func TestACopyOfADataFolderIsRefused(t *testing.T) {
	dsn, dir := testdb.DSN(t), testdb.Dir(t)
	a := startAgent(t, dir, dsn).ready()
	copied := testdb.Dir(t)
	for _, file := range []string{"node.json", "credentials", "cluster.key"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(copied, file), text, 0o600))
	}
	b := startAgent(t, copied, dsn, named("pi-2"))
	require.Equal(t, a.identity.ID, b.identity.ID)
	<-b.DatabaseSettled()
	err := b.database.closed()
	require.ErrorContains(t, err, "one of the two data folders is a copy")
	_, body := b.do(http.MethodGet, b.control.URL+"/api/v1/apps", "", "Authorization", "Bearer x")
	require.Contains(t, body, "picloud node reset")
	b.Stop()
	nodes, err := a.database.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 1)
	require.Equal(t, "pi-1", nodes[0].Name)
	require.True(t, nodes[0].Alive(time.Now()), "the copy that ended has not ended the node")

	a.Stop()
	startAgent(t, dir, dsn).ready() // its own restart
}

// TestANodeReportsWhenItWorks: the others do not wait for one whose start fails.
func TestANodeReportsWhenItWorks(t *testing.T) {
	dsn := testdb.DSN(t)
	a := startAgent(t, testdb.Dir(t), dsn).ready()
	dir := testdb.Dir(t)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "credentials.new"), 0o700)) // bootstrap cannot write this file
	b := startAgent(t, dir, dsn, named("pi-2"))
	<-b.DatabaseSettled()
	require.Error(t, b.database.closed())
	nodes, err := a.database.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 1)
}

// TestACopyOfAJoinedNodeIsRefused: also where the database is that of another node, or where
// the way to it came with the join.
func TestACopyOfAJoinedNodeIsRefused(t *testing.T) {
	for name, dsn := range map[string]string{"managed": "", "dsn": testdb.DSN(t)} {
		t.Run(name, func(t *testing.T) {
			a := startAgent(t, testdb.Dir(t), dsn, onPorts(t)).ready()
			b := a.served("pi-2")
			copied := testdb.Dir(t)
			require.NoError(t, os.Mkdir(filepath.Join(copied, "cluster"), 0o700))
			for _, file := range []string{"node.json", "cluster.key", "cluster/node.key", "cluster/node.crt", "cluster/cluster.json"} {
				text, err := os.ReadFile(filepath.Join(b.opts.DataDir, file))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(copied, file), text, 0o600))
			}
			c := startAgent(t, copied, "", named("pi-3"), onPorts(t))
			<-c.DatabaseSettled()
			require.ErrorContains(t, c.database.closed(), "one of the two data folders is a copy")
			nodes, err := a.database.Nodes().List(t.Context())
			require.NoError(t, err)
			require.Len(t, nodes, 2)
			require.Equal(t, "pi-2", nodes[1].Name)
		})
	}
}
