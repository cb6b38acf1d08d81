package fleet_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestNodes(t *testing.T) {
	dsn := testdb.DSN(t)
	db := testdb.OpenWithRoot(t, dsn)
	started := time.Now().UTC().Add(-time.Hour).Truncate(time.Microsecond)
	one := picloud.Node{ID: "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a11", Name: "pi-2", Version: strings.Repeat("v", 300), Rev: 1, StartedAt: started}
	require.NoError(t, db.Nodes().Report(t.Context(), one))
	one.Rev, one.Version = 2, "v1"
	require.NoError(t, db.Nodes().Report(t.Context(), one))
	two := one
	two.ID, two.Name = "6f1c6f5e-6f5c-4a54-9f6e-2b8c3f1d0a12", "pi-1"
	require.NoError(t, db.Nodes().Report(t.Context(), two))

	nodes, err := db.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 2)
	require.True(t, nodes[0].Alive(time.Now()))
	one.SeenAt = nodes[1].SeenAt
	require.Equal(t, one, nodes[1])

	bad := one
	bad.Name = "No Name"
	testdb.RequireCode(t, picloud.CodeInvalid, db.Nodes().Report(t.Context(), bad))
	bad = one
	bad.ID = "no uuid"
	require.Error(t, db.Nodes().Report(t.Context(), bad))

	_, err = testdb.Connect(t, dsn).Exec(t.Context(), `UPDATE node SET seen_at = now() - interval '31 days' WHERE name = 'pi-1'`)
	require.NoError(t, err)
	require.NoError(t, db.Nodes().Report(t.Context(), one))
	nodes, err = db.Nodes().List(t.Context())
	require.NoError(t, err)
	require.Len(t, nodes, 1, "a node that is silent for 30 days is forgotten")
}
