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

func TestPortsThatCannotBeAreExplained(t *testing.T) {
	for name, c := range map[string]struct{ env, value, want, hint string }{
		"no number":       {"PICLOUD_HTTP_PORT", "http", `"http" is not a port`, "between 1 and 65535"},
		"zero":            {"PICLOUD_HTTPS_PORT", "0", `"0" is not a port`, "between 1 and 65535"},
		"too large":       {"PICLOUD_ADMIN_PORT", "65536", `"65536" is not a port`, "between 1 and 65535"},
		"the same twice":  {"PICLOUD_HTTP_PORT", "8081", "port 8081 is that of PICLOUD_HTTP_PORT too", "a port of its own"},
		"written another": {"PICLOUD_HTTP_PORT", "08081", "port 8081 is that of PICLOUD_HTTP_PORT too", "a port of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, env := range []string{"PICLOUD_HTTP_PORT", "PICLOUD_HTTPS_PORT", "PICLOUD_ADMIN_PORT"} {
				t.Setenv(env, "")
			}
			require.NoError(t, checkPorts())
			t.Setenv(c.env, c.value)
			var e *picloud.Error
			require.ErrorAs(t, checkPorts(), &e)
			require.Contains(t, e.Error(), c.want)
			require.Contains(t, e.Hint, c.hint)
		})
	}
	t.Setenv("PICLOUD_BIND", "203.0.113.1") // reserved for documentation: no machine has it
	var e *picloud.Error
	require.ErrorAs(t, probePorts(), &e)
	require.Contains(t, e.Hint, "PICLOUD_BIND")
}
