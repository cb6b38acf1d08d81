package caddymodule

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

func TestAPasswordIsRefusedOnTheCommandLine(t *testing.T) {
	setting, err := settingNamed("database_url")
	require.NoError(t, err)
	t.Setenv(setting.Env, "")
	for dsn, refused := range map[string]bool{
		"postgres://me:secret@db/picloud":       true,
		"host=db password=secret user=me":       true,
		"host=db PASSWORD = 'x'":                true,
		"postgres://me@db/picloud":              false,
		"host=/var/run/postgresql user=picloud": false,
	} {
		err := useFlag(setting, dsn)
		if !refused {
			require.NoError(t, err, dsn)
			continue
		}
		require.ErrorIs(t, err, picloud.ErrInvalid, dsn)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestATakenPortIsNamedWithTheWayOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	t.Setenv("PICLOUD_BIND", "127.0.0.1")
	t.Setenv("PICLOUD_HTTP_PORT", port)
	err = probePorts()
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Error(), port)
	require.Contains(t, e.Hint, "PICLOUD_HTTP_PORT")
	require.Contains(t, e.Hint, "--http-port")
}
