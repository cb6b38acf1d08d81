package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// TestADamagedPlaceInTheClusterStopsNoFunction: the node serves its disk copy, says what to
// do, and takes no database of its own.
func TestADamagedPlaceInTheClusterStopsNoFunction(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), testdb.DSN(t), onPorts(t)).ready()
	a.deploy("hello", helloSource)
	dir, opts := a.member("pi-2")
	b := startAgent(t, dir, "", opts...)
	<-b.Ready()
	status, body := b.call("hello")
	require.Equal(t, http.StatusOK, status, body)
	b.Stop()
	for _, name := range []string{"cluster.json", "node.crt"} {
		path := filepath.Join(dir, "cluster", name)
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, whole[:len(whole)/2], 0o600))
		b = startAgent(t, dir, "", opts...)
		<-b.DatabaseSettled()
		status, body = b.call("hello")
		require.Equal(t, http.StatusOK, status, body)
		require.ErrorContains(t, b.database.closed(), path)
		require.NoDirExists(t, filepath.Join(dir, "postgres"))
		b.Stop()
		require.NoError(t, os.WriteFile(path, whole, 0o600))
	}
}
