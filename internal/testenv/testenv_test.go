package testenv

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClear(t *testing.T) {
	gone := []string{"PICLOUD_HTTP_PORT", "PICLOUD_TOKEN", "PICLOUD_DATA", "XDG_DATA_HOME", "PGHOST", "http_proxy", "NO_COLOR"}
	stays := []string{"PICLOUD_TEST_DATABASE_URL", "PATH", "HOME", "TMPDIR", "GOCACHE"}
	for _, name := range append(gone, stays...) {
		t.Setenv(name, "/somewhere")
	}
	Clear()
	for _, name := range gone {
		_, found := os.LookupEnv(name)
		require.False(t, found, name)
	}
	for _, name := range stays {
		require.Equal(t, "/somewhere", os.Getenv(name), name)
	}
}
