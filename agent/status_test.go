package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/testdb"
)

// TestStatusWaitsForNobody: people ask while the managed server starts, which
// may take minutes.
func TestStatusWaitsForNobody(t *testing.T) {
	a := startAgent(t, testdb.Dir(t), "")
	for settled := false; !settled; {
		begin := time.Now()
		s := a.Status()
		require.Less(t, time.Since(begin), time.Second)
		require.NotNil(t, s.Database)
		require.Equal(t, s.Database.Err == nil, s.Database.Version != "")
		select {
		case <-a.DatabaseSettled():
			settled = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	s := a.ready().Status()
	require.NoError(t, s.Database.Err)
	require.NotEmpty(t, s.Database.Version)
	require.NotEmpty(t, s.Credentials)
}
