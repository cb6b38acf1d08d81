package caddymodule

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

// hostile are values that a template or a second parser would change.
var hostile = []string{
	`with spaces`, `$HOME`, `$(reboot)`, `"double"`, `'single'`, "`back`", `back\slash`, `back\{brace\}`, `{env.HOME}`, `{$HOME}`, `{file./etc/passwd}`,
	`{`, `}`, `}{`, `{}`, `\{\}`, `# not a comment`, `Gärten/日本語/🦆`, `<a href="x">&amp;</a>`, `a|b`, `%7B%zz`, `{{.Network}}`, `<<EOF`, `Gärten 2`,
}

// TestValuesArriveUnchanged: flags and variables mean themselves, on the whole
// way through Caddy's JSON to the node.
func TestValuesArriveUnchanged(t *testing.T) {
	t.Setenv("HOME", "/somewhere")
	for _, value := range hostile {
		t.Run(value, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), value)
			h, err := environment{values: map[string]string{
				"data": data, "database_url": "postgres://me:" + value + "@db/x", "postgres_bin": value, "executor": value, "log_level": value,
			}}.home()
			require.NoError(t, err)
			config, err := h.config()
			require.NoError(t, err)
			var tree struct {
				Storage struct{ Root string }
				Admin   struct{ Listen string }
				Logging struct {
					Logs struct{ Default struct{ Level string } }
				}
				Apps struct{ PiCloud App }
			}
			require.NoError(t, json.Unmarshal(config, &tree))
			s, err := tree.Apps.PiCloud.settings()
			require.NoError(t, err)
			require.Equal(t, data, s.DataDir)
			require.Equal(t, "postgres://me:"+value+"@db/x", s.DatabaseURL)
			require.Equal(t, value, s.PostgresBin)
			require.Equal(t, value, s.WorkerPath)
			require.Equal(t, filepath.Join(data, "caddy"), tree.Storage.Root, "Caddy replaces no placeholders there")
			for want, text := range map[string]string{
				"unix/" + h.socket + "|0600": tree.Admin.Listen, value: tree.Logging.Logs.Default.Level,
			} {
				replaced, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
				require.NoError(t, err)
				require.Equal(t, want, replaced)
			}

			_, err = environment{values: map[string]string{"data": data, "node_name": value}}.home()
			require.ErrorIs(t, err, picloud.ErrInvalid, "a node's name is a name")
			_, err = environment{values: map[string]string{"data": data, "bind": value}}.home()
			require.ErrorIs(t, err, picloud.ErrInvalid, "an address is an address")
			_, err = whereabouts(texts{"node_name": escape(value)}, data)
			require.ErrorIs(t, err, picloud.ErrInvalid)
			read, err := texts{"node_name": escape(value)}.read()
			require.NoError(t, err)
			require.Equal(t, value, read.NodeName, "and is refused as it was written")
		})
	}
}

// TestPlaceholdersOfOwners: in a Caddyfile and in JSON they stand for what they
// name, secrets of files among them, which no configuration then holds.
func TestPlaceholdersOfOwners(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(secret, []byte("postgres://me:{env.HOME}@db/x\n"), 0o600))
	t.Setenv("SOME_PORT", "1080")
	path := filepath.Join(t.TempDir(), "Caddyfile")
	require.NoError(t, os.WriteFile(path, []byte("{\n\tpicloud {\n\t\thttp_port {env.SOME_PORT}\n\t\tdatabase_url \"{file."+secret+"}\"\n\t\texecutor {$SOME_PORT}\n\t}\n}\n"), 0o600))
	config, err := environment{values: map[string]string{"data": t.TempDir()}}.configure(path)
	require.NoError(t, err)
	require.Contains(t, string(config.json), `"database_url":"{file.`+secret+`}"`)
	require.Contains(t, string(config.json), `"listen":["picloud/:1080"]`)
	var tree struct{ Apps struct{ PiCloud App } }
	require.NoError(t, json.Unmarshal(config.json, &tree))
	s, err := tree.Apps.PiCloud.settings()
	require.NoError(t, err)
	require.Equal(t, "postgres://me:{env.HOME}@db/x", s.DatabaseURL, "what a placeholder stands for is not read again")
	require.Equal(t, 1080, s.HTTPPort)
	require.Equal(t, "1080", s.WorkerPath)
}

// TestOwnersCaddyfileSeesFlagsAndDefaults, though nobody writes them into the
// process's environment.
func TestOwnersCaddyfileSeesFlagsAndDefaults(t *testing.T) {
	before := os.Environ()
	text := `{
	picloud {
		data "{$PICLOUD_DATA}"
		node_name {env.PICLOUD_NODE_NAME}
		executor "{env.PICLOUD_EXECUTOR}"
	}
}
http://:{$PICLOUD_HTTP_PORT:99} {
	bind "{$PICLOUD_BIND:127.0.0.1}"
	respond "at {$PICLOUD_ADMIN_SOCKET} {$PICLOUD_NO_SETTING:other} {env.PICLOUD_EXECUTOR}"
}
`
	path := filepath.Join(t.TempDir(), "Caddyfile")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	data := t.TempDir()
	env := environment{values: map[string]string{"data": data, "node_name": "pi-5", "executor": `a"{env.HOME}`, "http_port": "1080"}}
	config, err := env.configure(path)
	require.NoError(t, err)
	require.Equal(t, path, config.path)
	require.Contains(t, string(config.json), `"listen":["127.0.0.1:1080"]`)
	require.Contains(t, string(config.json), config.home.socket+" other a\\\"\\\\{env.HOME\\\\}")
	var tree struct{ Apps struct{ PiCloud App } }
	require.NoError(t, json.Unmarshal(config.json, &tree))
	s, err := tree.Apps.PiCloud.settings()
	require.NoError(t, err)
	require.Equal(t, [3]string{data, "pi-5", `a"{env.HOME}`}, [3]string{s.DataDir, s.NodeName, s.WorkerPath})
	require.Equal(t, before, os.Environ(), "the environment is not written")
}

// TestAFixedSettingIsNamedWhenItChanges goes through the table: all but the live
// ones.
func TestAFixedSettingIsNamedWhenItChanges(t *testing.T) {
	base := map[string]string{"data": "/a", "node_name": "pi-1"}
	other := map[string]string{
		"data": "/b", "node_name": "pi-2", "bind": "127.0.0.1", "http_port": "1", "https_port": "2", "admin_port": "3", "log_level": "ERROR",
		"database_url": "postgres://me:secret@db/x", "postgres_bin": "/x", "executor": "/x", "sandbox": "best_effort", "executor_idle": "5m", "executor_memory": "1GiB", "executor_workers": "3", "control_hosts": "pi.example.org", "transit_memory": "1GiB",
		"join": "pi-0.local", "join_token": "PCT1.X", "advertise": "10.0.0.9", "cluster_port": "1947", "gossip_port": "1946", "dump_every": "0",
	}
	require.Len(t, other, len(table), "a new setting has a value here")
	read := func(values map[string]string) settings {
		app := App{texts: values}
		s, err := app.settings()
		require.NoError(t, err)
		s.Options, err = s.Complete()
		require.NoError(t, err)
		return s
	}
	r := &runtime{settings: read(base)}
	require.NoError(t, r.accepts(read(base)))
	for _, s := range table {
		values := maps.Clone(base)
		values[s.Name] = other[s.Name]
		err := r.accepts(read(values))
		if s.Live {
			require.NoError(t, err, s.Name)
			continue
		}
		require.EqualError(t, err, "picloud: "+s.Name+" changed; a reload cannot apply that: restart required")
	}
	require.ErrorContains(t, r.accepts(read(map[string]string{"data": "/b", "node_name": "pi-2"})), "data, node_name changed")
}

func TestJSONFieldsAreSettings(t *testing.T) {
	var a App
	require.NoError(t, json.Unmarshal([]byte(`{"node_name":"pi-1","http_port":"80"}`), &a))
	out, err := json.Marshal(a)
	require.NoError(t, err)
	require.JSONEq(t, `{"node_name":"pi-1","http_port":"80"}`, string(out))
	require.ErrorContains(t, json.Unmarshal([]byte(`{"dta":"x"}`), &a), `unknown option "dta"; picloud has data, node_name`)
	require.Error(t, json.Unmarshal([]byte(`{"http_port":80}`), &a), "all fields are strings")
}
