package caddymodule

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud/internal/datadir"
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
			"sandbox": "best_effort", "executor_idle": "5m", "executor_memory": "1GiB", "executor_workers": "3", "control_hosts": "pi.example.org", "transit_memory": "1GiB",
			"join": "pi-0.local", "join_token": "PCT1.X", "advertise": "10.0.0.9", "cluster_port": "1947", "gossip_port": "1946", "dump_every": "2h",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "all" {
				require.Len(t, values, len(table), "a new setting has a value here")
			}
			h := someHome(t, values)
			env := environment{values: values, socket: h.socket}
			text, err := DefaultCaddyfile()
			require.NoError(t, err)
			adapted, err := env.ofCaddyfile(text, "Caddyfile")
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
		"data": t.TempDir(), "node_name": "pi-8", "log_level": "ERROR", "sandbox": "strict", "executor_idle": "1h", "executor_memory": "1GiB", "executor_workers": "9", "control_hosts": "pi.example.com", "transit_memory": "1GiB",
		"join": "pi-1.local", "join_token": "PCT1.Y", "advertise": "10.0.0.8", "cluster_port": "2947", "gossip_port": "2946", "dump_every": "3h",
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
	text := "{\n\tpicloud {\n\t\tdata \"" + data + "\"\n\t\tnode_name pi-9\n\t\tbind 127.0.0.1\n\t\thttp_port 1080\n\t\thttps_port 1443\n" +
		"\t\tadmin_port 1081\n\t\tlog_level ERROR\n\t\tdatabase_url postgres://db/x\n\t}\n}\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	env := environment{values: map[string]string{"data": t.TempDir(), "node_name": "pi-10", "executor_workers": "3"}, socket: "/somewhere/else.sock"}
	config, err := env.configure(path)
	require.NoError(t, err)
	require.Equal(t, path, config.path)
	for _, want := range []string{
		`"listen":["picloud/127.0.0.1:1080"]`, `"listen":["picloud/127.0.0.1:1443"]`, `"listen":["picloud/127.0.0.1:1081"]`,
		`"pi-9.local"`, `"level":"ERROR"`, `"database_url":"postgres://db/x"`, `"data":"` + data + `"`, `"root":"` + data + `/caddy"`,
		`"listen":"unix/` + data + `/run/caddy.sock|0600"`, `"executor_workers":"3"`,
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
	// No name is sent to an IP address (B22); a name of the user's own DNS is none of ours.
	for _, name := range []string{"localhost", "pi-1.local", "", "pi.example.org"} {
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: name},
			ForceAttemptHTTP2: true,
		}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://127.0.0.1:" + n.https + "/fn/default/hello")
		require.NoError(t, err, name)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode, name)
		require.Equal(t, 2, resp.ProtoMajor, name)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "hello", string(body), name)
	}
}

// TestWhatACaddyfileLeavesOpenIsAsInTheEmbeddedOne: settings mean the same with sites
// of one's own, and flags and variables still set what the file does not.
func TestWhatACaddyfileLeavesOpenIsAsInTheEmbeddedOne(t *testing.T) {
	data := t.TempDir()
	env := environment{values: map[string]string{"data": "/not/used", "sandbox": "best_effort", "log_level": "ERROR"}, data: "/not/used/either"}
	c, err := env.ofCaddyfile([]byte("{\n\tpicloud {\n\t\tdata \""+data+"\"\n\t\tnode_name pi-3\n\t}\n}\nhttp://:1080 {\n\trespond \"at {$PICLOUD_DATA},{$PICLOUD_NODE_NAME}\"\n\tpicloud\n}\n"), "Caddyfile")
	require.NoError(t, err)
	require.True(t, c.sites)
	require.Equal(t, data, c.home.DataDir)
	var tree struct {
		Admin   struct{ Listen string }
		Logging struct {
			Logs struct {
				Default struct {
					Level   string
					Encoder struct{ Format string }
				}
			}
		}
		Apps struct {
			PiCloud App
			HTTP    struct {
				GracePeriod int64 `json:"grace_period"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(c.json, &tree))
	require.Equal(t, "unix/"+data+"/run/caddy.sock|0600", tree.Admin.Listen)
	require.Equal(t, "ERROR", tree.Logging.Logs.Default.Level)
	require.Equal(t, voiceName, tree.Logging.Logs.Default.Encoder.Format)
	require.Contains(t, string(c.json), `"exclude":["admin","http.auto_https"]`, "what is meant to be so is not warned of here either")
	require.Equal(t, int64(gracePeriod), tree.Apps.HTTP.GracePeriod)
	require.Equal(t, "best_effort", tree.Apps.PiCloud.texts["sandbox"])
	require.Equal(t, data, tree.Apps.PiCloud.texts["data"])
	require.Contains(t, string(c.json), `"body":"at `+data+`,pi-3"`, "the sites see the settings of the file")
	require.Len(t, c.overruled, 1)
	require.Equal(t, "data", c.overruled[0].Name)

	// What the owner says stays as it is.
	c, err = env.ofCaddyfile([]byte("{\n\tadmin off\n\tgrace_period 3s\n\tlog {\n\t\tlevel DEBUG\n\t\tformat json\n\t}\n}\nhttp://:1080 {\n\tpicloud\n}\n"), "Caddyfile")
	require.NoError(t, err)
	for _, want := range []string{`"admin":{"disabled":true}`, `"level":"DEBUG"`, `"format":"json"`, `"grace_period":3000000000`, `"sandbox":"best_effort"`} {
		require.Contains(t, string(c.json), want)
	}
	_, err = env.ofCaddyfile([]byte("http://:1080 {\n\trespond hello\n}\n"), "Caddyfile")
	require.ErrorContains(t, err, "no picloud directive")

	// Without sites of its own, what it says beside the settings counts too.
	c, err = env.ofCaddyfile([]byte("{\n\tdebug\n\temail me@example.org\n\tpicloud {\n\t\tdata \""+data+"\"\n\t}\n}\n"), "Caddyfile")
	require.NoError(t, err)
	require.False(t, c.sites)
	require.Contains(t, string(c.json), `"level":"DEBUG"`)
	require.Contains(t, string(c.json), `"handler":"picloud_manager"`)
}

// TestAnIPv6AddressIsOneInEveryConfiguration: with brackets and without.
func TestAnIPv6AddressIsOneInEveryConfiguration(t *testing.T) {
	printed, err := DefaultCaddyfile()
	require.NoError(t, err)
	for _, bind := range []string{"::1", "[::1]"} {
		env := environment{values: map[string]string{"data": t.TempDir(), "bind": bind, "http_port": "1080", "https_port": "1443", "admin_port": "1081"}}
		embedded, err := env.configure("")
		require.NoError(t, err)
		owners, err := env.ofCaddyfile(printed, "Caddyfile")
		require.NoError(t, err)
		for _, c := range []config{embedded, owners} {
			addresses, err := c.addresses()
			require.NoError(t, err)
			require.Equal(t, []string{"127.0.0.1:1081", "[::1]:1080", "[::1]:1443"}, addresses)
			require.Contains(t, string(c.json), `"protocols":["h1","h2"]`)
			require.Equal(t, "http://[::1]:1080", c.home.functionsURL(), "localhost is 127.0.0.1 on many machines")
			tree, err := parseTree(c.json)
			require.NoError(t, err)
			require.Len(t, tree.at("apps", "http", "servers"), 3, "a socket has one server")
		}
	}
}

// TestTheFolderOfARunningNode: which one the commands mean.
func TestTheFolderOfARunningNode(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	require.NoError(t, err)
	folder := func(w whichNode, variable string) (dir, other string) {
		values := map[string]string{}
		if variable != "" {
			values["data"] = variable
		}
		dir, other, err := w.folder(environment{values: values, data: "/default"})
		require.NoError(t, err)
		return dir, other
	}
	dir, other := folder(whichNode{}, "")
	require.Equal(t, [2]string{"/default", ""}, [2]string{dir, other})
	getenv := func(name string) string { return map[string]string{"XDG_DATA_HOME": "/xdg"}[name] }
	require.Equal(t, datadir.Default(getenv), readEnvironment(getenv).data)
	require.NoError(t, os.MkdirAll("data", 0o700))
	require.NoError(t, os.WriteFile("data/node.json", nil, 0o600))
	require.Equal(t, filepath.Join(wd, "data"), readEnvironment(getenv).data, "the one of make run, for `picloud run` too")
	require.NoError(t, os.WriteFile("Caddyfile", []byte("{\n\tpicloud {\n\t\tdata /in/file\n\t}\n}\n"), 0o600))
	dir, _ = folder(whichNode{}, "")
	require.Equal(t, "/in/file", dir)
	dir, other = folder(whichNode{}, "/variable")
	require.Equal(t, [2]string{"/variable", "/in/file"}, [2]string{dir, other})
	dir, _ = folder(whichNode{data: "flag"}, "/variable")
	require.Equal(t, filepath.Join(wd, "flag"), dir)
	dir, _ = folder(whichNode{config: "Caddyfile"}, "/variable")
	require.Equal(t, "/in/file", dir)
	_, _, err = whichNode{config: "none"}.folder(environment{values: map[string]string{}})
	require.Error(t, err)
	require.NoError(t, os.WriteFile("Caddyfile", []byte("{"), 0o600))
	dir, _ = folder(whichNode{}, "/variable")
	require.Equal(t, "/variable", dir, "a broken file hides no node")
}

// TestAStrangersFolderIsNotBelieved: somebody leaves a data folder and a Caddyfile in a
// folder that everybody can write, such as /tmp.
func TestAStrangersFolderIsNotBelieved(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("data", 0o700))
	require.NoError(t, os.WriteFile("data/node.json", nil, 0o600))
	none := func(string) string { return "" }
	e := readEnvironment(none)
	_, _, err := whichNode{}.folder(e)
	require.NoError(t, err)

	e.owners = datadir.Owners{os.Geteuid() + 1}
	_, _, err = whichNode{}.folder(e)
	var foreign *datadir.Foreign
	require.ErrorAs(t, err, &foreign)
	require.Equal(t, e.data, foreign.Path)
	require.Contains(t, foreign.Hint, "--data ./data")
	dir, _, err := whichNode{data: "data"}.folder(e)
	require.NoError(t, err, "the user has named it")
	require.Equal(t, e.data, dir)

	require.NoError(t, os.WriteFile("Caddyfile", []byte("{\n\tpicloud {\n\t\tdata /in/file\n\t}\n}\n"), 0o600))
	e = readEnvironment(none)
	dir, _, err = whichNode{}.folder(e)
	require.NoError(t, err)
	require.Equal(t, "/in/file", dir)
	e.owners = datadir.Owners{os.Geteuid() + 1}
	_, err = e.configure("")
	require.ErrorAs(t, err, &foreign)
	require.Contains(t, foreign.Hint, "--config Caddyfile")
	_, err = e.configure("Caddyfile")
	require.NoError(t, err)
}
