package testdb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

func TestEachTestHasASchemaOfItsOwn(t *testing.T) {
	one, two := testdb.New(t), testdb.New(t)
	testdb.AddRoot(t, one)
	testdb.AddRoot(t, two)
	_, err := one.Apps().Create(t.Context(), testdb.Root, "blog")
	require.NoError(t, err)
	_, _, err = two.Apps().Get(t.Context(), testdb.Root, "blog")
	require.ErrorIs(t, err, picloud.ErrNotFound)
}
