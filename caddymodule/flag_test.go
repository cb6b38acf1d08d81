package caddymodule

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/picloud/picloud"
)

func TestAPasswordIsRefusedOnTheCommandLine(t *testing.T) {
	setting, err := settingNamed("database_url")
	require.NoError(t, err)
	for dsn, refused := range map[string]bool{
		"postgres://me:secret@db/picloud":        true,
		"host=db password=secret user=me":        true,
		"host=db PASSWORD = 'x'":                 true,
		"postgres://me@db/picloud":               false,
		"host=/var/run/postgresql user=picloud":  false,
		"postgres://me:se/secret@db/picloud":     true,
		"postgres://me:secret":                   true,
		"me:secret@db/picloud":                   true,
		"postgres://db/x?pass%77ord=secret":      true,
		"postgres://[::1]:5432/x":                false,
		"postgres://me@[::1]:5432,db:1/x":        false,
		"postgresql://db:5432/x?sslmode=require": false,
		"host=::1 port=5432":                     false,
	} {
		env := environment{values: map[string]string{}}
		err := env.useFlag(setting, dsn)
		if !refused {
			require.NoError(t, err, dsn)
			require.Equal(t, dsn, env.values["database_url"])
			continue
		}
		require.ErrorIs(t, err, picloud.ErrInvalid, dsn)
		require.NotContains(t, err.Error(), "secret")
	}
}

// TestNoPasswordPassesTheCommandLine, whatever characters it has and whether they are
// escaped.
func TestNoPasswordPassesTheCommandLine(t *testing.T) {
	setting, err := settingNamed("database_url")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.StringOfN(rapid.RuneFrom([]rune("a1:/?#@%'\\\" =&,;[]{}$é")), 0, 6, -1)
		password := odd.Draw(t, "before") + "hunter2" + odd.Draw(t, "after")
		dsn := fmt.Sprintf(rapid.SampledFrom([]string{
			"postgres://me:%s@db/x", "postgresql://me:%s@db:5432,other/x?sslmode=require", "postgres://:%s@db", "me:%s@db/x",
			"postgres://db/x?password=%s", "host=db password=%s user=me", "host=db PASSWORD = '%s'", "sslpassword=%s",
		}).Draw(t, "form"), rapid.SampledFrom([]func(string) string{
			url.QueryEscape, url.PathEscape, func(s string) string { return s },
		}).Draw(t, "escape")(password))
		err := environment{values: map[string]string{}}.useFlag(setting, dsn)
		require.ErrorIs(t, err, picloud.ErrInvalid, dsn)
		require.NotContains(t, fmt.Sprintf("%+v", err), "hunter2")
	})
}

func TestATakenPortIsNamedWithTheWayOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	c, err := environment{values: map[string]string{"data": t.TempDir(), "bind": "127.0.0.1", "http_port": port}}.configure("")
	require.NoError(t, err)
	err = c.probePorts()
	var e *picloud.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, e.Error(), port)
	require.Contains(t, e.Hint, "PICLOUD_HTTP_PORT")
	require.Contains(t, e.Hint, "--http-port")
}

func TestPortsThatCannotBeAreExplained(t *testing.T) {
	for name, c := range map[string]struct{ setting, value, want, hint string }{
		"no number":       {"http_port", "http", `"http" is not a port`, "between 1 and 65535"},
		"zero":            {"https_port", "0", `"0" is not a port`, "between 1 and 65535"},
		"too large":       {"admin_port", "65536", `"65536" is not a port`, "between 1 and 65535"},
		"the same twice":  {"http_port", "8081", "port 8081 is the port of PICLOUD_HTTP_PORT too", "a port of its own"},
		"written another": {"http_port", "08081", "port 8081 is the port of PICLOUD_HTTP_PORT too", "a port of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := whereabouts(texts{}, t.TempDir())
			require.NoError(t, err)
			_, err = whereabouts(texts{c.setting: c.value}, t.TempDir())
			var e *picloud.Error
			require.ErrorAs(t, err, &e)
			require.Contains(t, e.Error(), c.want)
			require.Contains(t, e.Hint, c.hint)
		})
	}
	// Reserved for documentation: no machine has it.
	c, err := environment{values: map[string]string{"data": t.TempDir(), "bind": "203.0.113.1"}}.configure("")
	require.NoError(t, err)
	var e *picloud.Error
	require.ErrorAs(t, c.probePorts(), &e)
	require.Contains(t, e.Hint, "PICLOUD_BIND")
}
