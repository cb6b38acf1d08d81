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
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files again")

// someHome is a home with folders below the test's own.
func someHome(t *testing.T, values map[string]string) home {
	t.Helper()
	if values["data"] == "" {
		values["data"] = t.TempDir()
	}
	h, err := environment{values: values, socket: "/run/picloud/caddy.sock"}.home()
	require.NoError(t, err)
	return h
}

// TestEmbeddedConfiguration pins what the embedded configuration means to Caddy.
func TestEmbeddedConfiguration(t *testing.T) {
	h := someHome(t, map[string]string{"node_name": "pi-1"})
	h.DataDir, h.texts["data"] = "/srv/my data", "/srv/my data"
	got, err := h.config()
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

// TestDefaultCaddyfileIsTheEmbeddedConfiguration: what `picloud config show`
// prints is to Caddy what the node runs without a Caddyfile. Every setting takes
// part, so one that either of them left out would be found.
func TestDefaultCaddyfileIsTheEmbeddedConfiguration(t *testing.T) {
	for name, values := range map[string]map[string]string{
		"defaults": {},
		"all": {
			"data": filepath.Join(t.TempDir(), "my data"), "node_name": "pi-7", "bind": "127.0.0.1", "http_port": "1080", "https_port": "1443", "admin_port": "1081",
			"log_level": "ERROR", "database_url": "postgres://db/x?sslmode=require", "postgres_bin": "/opt/pg 17/bin", "executor": "/opt/executor",
			"sandbox": "best_effort", "executor_idle": "5m", "executor_memory": "1GiB", "executor_workers": "3", "transit_memory": "1GiB",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "all" {
				require.Len(t, values, len(table), "a new setting has a value here")
			}
			h := someHome(t, values)
			env := environment{values: values}
			text, err := DefaultCaddyfile()
			require.NoError(t, err)
			adapted, err := env.ofCaddyfile(h, text, "Caddyfile")
			require.NoError(t, err)
			embedded, err := h.config()
			require.NoError(t, err)
			require.JSONEq(t, bySite(t, adapted.json), bySite(t, embedded))
		})
	}
}

// bySite writes a configuration with its servers under the names of their
// listeners: the Caddyfile's reader numbers them by an order of its own.
func bySite(t *testing.T, config []byte) string {
	t.Helper()
	var tree map[string]any
	require.NoError(t, json.Unmarshal(config, &tree))
	app := tree["apps"].(map[string]any)["http"].(map[string]any)
	named := map[string]any{}
	for _, server := range app["servers"].(map[string]any) {
		named[server.(map[string]any)["listen"].([]any)[0].(string)] = server
	}
	app["servers"] = named
	out, err := json.Marshal(tree)
	require.NoError(t, err)
	return string(out)
}

func TestEverySettingIsACaddyfileOption(t *testing.T) {
	text := "{\n\tpicloud {\n"
	for _, s := range table {
		text += "\t\t" + s.Name + " value-of-" + s.Name + "\n"
	}
	text += "\t}\n}\n"
	got, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	require.NoError(t, err)
	var config struct{ Apps struct{ PiCloud App } }
	require.NoError(t, json.Unmarshal(got, &config))
	for _, s := range table {
		require.Equal(t, "value-of-"+s.Name, config.Apps.PiCloud.texts[s.Name])
	}
}

// TestEverySettingReachesTheNode: flags and variables are worth nothing if the
// embedded configuration leaves them out.
func TestEverySettingReachesTheNode(t *testing.T) {
	values := map[string]string{
		"data": t.TempDir(), "node_name": "pi-8", "log_level": "ERROR", "sandbox": "strict", "executor_idle": "1h", "executor_memory": "1GiB", "executor_workers": "9", "transit_memory": "1GiB",
	}
	for i, s := range table {
		if values[s.Name] == "" {
			values[s.Name] = strconv.Itoa(4000 + i)
		}
	}
	env := readEnvironment(func(name string) string {
		for _, s := range table {
			if s.Env() == name {
				return values[s.Name]
			}
		}
		return ""
	})
	h, err := env.home()
	require.NoError(t, err)
	got, err := h.config()
	require.NoError(t, err)
	var config struct{ Apps struct{ PiCloud App } }
	require.NoError(t, json.Unmarshal(got, &config))
	require.Equal(t, texts(values), config.Apps.PiCloud.texts)
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

// TestSettingsAloneAreEnough: every setting works as a Caddyfile option, and wins
// over the environment.
func TestSettingsAloneAreEnough(t *testing.T) {
	data := t.TempDir()
	path := filepath.Join(t.TempDir(), "Caddyfile")
	text := "{\n\tpicloud {\n\t\tdata " + data + "\n\t\tnode_name pi-9\n\t\tbind 127.0.0.1\n\t\thttp_port 1080\n\t\thttps_port 1443\n" +
		"\t\tadmin_port 1081\n\t\tlog_level ERROR\n\t\tdatabase_url postgres://db/x\n\t}\n}\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	env := environment{values: map[string]string{"data": t.TempDir(), "node_name": "pi-10", "executor_workers": "3"}, socket: "/somewhere/else.sock"}
	config, err := env.configure(path)
	require.NoError(t, err)
	require.Equal(t, path, config.path)
	for _, want := range []string{
		`"listen":["picloud/127.0.0.1:1080"]`, `"listen":["picloud/127.0.0.1:1443"]`, `"listen":["picloud/127.0.0.1:1081"]`,
		`"pi-9.local"`, `"level":"ERROR"`, `"database_url":"postgres://db/x"`, `"data":"` + data + `"`, `"root":"` + data + `/caddy"`,
		`"admin":{"listen":"unix/` + data + `/run/caddy.sock|0600"`, `"executor_workers":"3"`,
	} {
		require.Contains(t, string(config.json), want)
	}
	require.Equal(t, data, config.home.DataDir)
}

// TestHTTP2IsSpokenOverTLS: the options of Caddy's servers apply by the exact
// address of a listener, and ours have a network of their own.
func TestHTTP2IsSpokenOverTLS(t *testing.T) {
	n := startNode(t)
	n.deploy(t, "hello", `function handle(req) { return "hello" }`)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://127.0.0.1:" + n.https + "/fn/default/hello")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, 2, resp.ProtoMajor)
}
