package caddymodule

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestDefaultCaddyfile pins what the embedded configuration means to Caddy.
func TestDefaultCaddyfile(t *testing.T) {
	t.Setenv("PICLOUD_DATA", "/srv/my data")
	t.Setenv("PICLOUD_NODE_NAME", "pi-1")
	t.Setenv("PICLOUD_ADMIN_SOCKET", "/run/picloud/caddy.sock")
	got, err := adaptConfig(DefaultCaddyfile, "default.Caddyfile")
	require.NoError(t, err)
	var pretty any
	require.NoError(t, json.Unmarshal(got, &pretty))
	text, err := json.MarshalIndent(pretty, "", "  ")
	require.NoError(t, err)
	const golden = "testdata/default.json"
	if *update {
		require.NoError(t, os.WriteFile(golden, append(text, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got))
	require.Contains(t, string(got), `"listen":["picloud/:8080"],"routes":[{"handle":[{"handler":"picloud"}]}]`,
		"the site of functions is not wrapped in a subroute: the hot path stays short")
}

func TestEverySettingIsACaddyfileOption(t *testing.T) {
	text := "{\n\tpicloud {\n"
	for _, s := range Settings {
		text += "\t\t" + s.Name + " value-of-" + s.Name + "\n"
	}
	text += "\t}\n}\n"
	got, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	require.NoError(t, err)
	var config struct{ Apps struct{ PiCloud App } }
	require.NoError(t, json.Unmarshal(got, &config))
	for _, s := range Settings {
		require.Equal(t, "value-of-"+s.Name, s.get(&config.Apps.PiCloud))
	}
}

// TestDefaultCaddyfileReadsEverySetting: flags and variables reach a node
// through the embedded Caddyfile, so a setting that it leaves out does nothing.
func TestDefaultCaddyfileReadsEverySetting(t *testing.T) {
	for i, s := range Settings {
		t.Setenv(s.Env, strconv.Itoa(4000+i))
	}
	t.Setenv("PICLOUD_LOG_LEVEL", "ERROR")
	got, err := adaptConfig(DefaultCaddyfile, "default.Caddyfile")
	require.NoError(t, err)
	var config struct{ Apps struct{ PiCloud App } }
	require.NoError(t, json.Unmarshal(got, &config))
	for _, s := range Settings {
		require.Equal(t, os.Getenv(s.Env), s.get(&config.Apps.PiCloud), s.Name)
	}
}

func TestCaddyfileErrorsNameTheWayOut(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown option":         {"{\n picloud {\n  dta x\n }\n}", `unknown option "dta"; picloud has data, node_name`},
		"set twice":              {"{\n picloud {\n  data a\n  data b\n }\n}", "data is set twice"},
		"two values":             {"{\n picloud {\n  data a b\n }\n}", "wrong argument count"},
		"argument of the option": {"{\n picloud a\n}", "wrong argument count"},
		"argument of directive":  {"http://:1 {\n picloud a\n}", "wrong argument count"},
		"block of directive":     {"http://:1 {\n picloud {\n  data x\n }\n}", "global picloud block"},
		"block of manager":       {"http://:1 {\n picloud_manager {\n  data x\n }\n}", "global picloud block"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(c.text), nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestSettingsAloneAreEnough: every setting works as a Caddyfile option.
func TestSettingsAloneAreEnough(t *testing.T) {
	for _, s := range Settings {
		t.Setenv(s.Env, "")
	}
	t.Setenv("PICLOUD_ADMIN_SOCKET", "/somewhere/else.sock")
	data := t.TempDir()
	path := filepath.Join(t.TempDir(), "Caddyfile")
	text := "{\n\tpicloud {\n\t\tdata " + data + "\n\t\tnode_name pi-9\n\t\tbind 127.0.0.1\n\t\thttp_port 1080\n\t\thttps_port 1443\n" +
		"\t\tadmin_port 1081\n\t\tlog_level ERROR\n\t\tdatabase_url postgres://db/x\n\t}\n}\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	adapted, from, err := loadConfig(path)
	require.NoError(t, err)
	require.Equal(t, path, from)
	for _, want := range []string{
		`"listen":["picloud/127.0.0.1:1080"]`, `"listen":["picloud/127.0.0.1:1443"]`, `"listen":["picloud/127.0.0.1:1081"]`,
		`"pi-9.local"`, `"level":"ERROR"`, `"database_url":"postgres://db/x"`, `"data":"` + data + `"`, `"root":"` + data + `/caddy"`,
		`"admin":{"listen":"unix/` + data + `/run/caddy.sock|0600"`,
	} {
		require.Contains(t, string(adapted), want)
	}
}

// TestHTTP2IsSpokenOverTLS: the options of Caddy's servers apply by the exact
// address of a listener, and ours have a network of their own.
func TestHTTP2IsSpokenOverTLS(t *testing.T) {
	n := startNode(t)
	n.deploy(t, "hello", `function handle(req) { return "hello" }`)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}, //nolint:gosec // the node's own CA, made a moment ago
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://127.0.0.1:" + os.Getenv("PICLOUD_HTTPS_PORT") + "/fn/default/hello")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, 2, resp.ProtoMajor)
}
