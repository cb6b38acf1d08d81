package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/manager/api/client"
)

// TestTheLastDumpIsElsewhere: one on the board of the database is lost with it.
func TestTheLastDumpIsElsewhere(t *testing.T) {
	at := time.Date(2026, 11, 29, 14, 2, 11, 0, time.Local)
	s := client.ClusterState{Database: "pi-1", Revision: 43, Dumps: []picloud.Dump{{Node: "pi-1", Revision: 43, TakenAt: at}, {Node: "pi-2", Revision: 41, TakenAt: at}, {Node: "pi-3"}}}
	row := []string{"last dump", "on pi-2, revision 41 of 43, 2026-11-29 14:02:11"}
	require.Contains(t, rows(s), row)
	s.Dumps = s.Dumps[:1]
	for _, r := range rows(s) {
		require.NotEqual(t, row[0], r[0])
	}
}
