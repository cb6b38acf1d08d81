package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile" // the adapter's base
)

// configPaths are where `picloud run` looks for a configuration.
var configPaths = []string{"Caddyfile", "/etc/picloud/Caddyfile"}

// config is a configuration to run.
type config struct {
	json []byte // Caddy's
	path string // of the Caddyfile; empty: the embedded configuration
	home home   // of the node, if the Caddyfile does not name another data folder
}

// configure makes the configuration: of the named Caddyfile, else of the first of
// configPaths that exists, else of the settings alone.
func (e environment) configure(named string) (config, error) {
	h, err := e.home()
	if err != nil {
		return config{}, err
	}
	candidates := configPaths
	if named != "" {
		candidates = []string{named}
	}
	for _, path := range candidates {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err != nil {
			return config{}, fmt.Errorf("read configuration: %w", err)
		}
		return e.ofCaddyfile(h, text, path)
	}
	json, err := h.config()
	return config{json, "", h}, err
}

// ofCaddyfile makes the configuration of an owner's Caddyfile. One with nothing
// but settings gets the embedded sites; its settings win over the environment.
func (e environment) ofCaddyfile(h home, text []byte, path string) (config, error) {
	known := e.variables(h)
	adapted, err := adaptConfig(insert(text, known), path)
	if err != nil {
		return config{}, err
	}
	app := settingsAlone(adapted)
	if app == nil {
		return config{resolve(adapted, e.unknownToCaddy(known)), path, h}, nil
	}
	t, socket := literal(e.values), e.socket
	maps.Copy(t, app.texts)
	if app.texts["data"] != "" {
		socket = "" // the one of the environment belongs to another folder
	}
	if h, err = newHome(t, socket, e.data); err != nil {
		return config{}, err
	}
	json, err := h.config()
	return config{json, path, h}, err
}

// adaptConfig turns a Caddyfile into Caddy's JSON.
func adaptConfig(config []byte, name string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(config, map[string]any{"filename": name})
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", name, err)
	}
	return adapted, nil
}

// settingsAlone returns the node's settings if a configuration has nothing but
// them: not one site of its own.
func settingsAlone(adapted []byte) *App {
	var config struct {
		Apps struct {
			HTTP    json.RawMessage `json:"http"`
			PiCloud *App            `json:"picloud"`
		} `json:"apps"`
	}
	if json.Unmarshal(adapted, &config) != nil || config.Apps.HTTP != nil {
		return nil
	}
	return config.Apps.PiCloud
}

// variables returns the environment variables that an owner's Caddyfile can name,
// with what flags and defaults make of them.
func (e environment) variables(h home) map[string]string {
	known := map[string]string{adminSocketEnv: h.socket}
	for _, s := range table {
		switch s.Name {
		case "data":
			known[s.Env()] = h.DataDir
		case "node_name":
			known[s.Env()] = h.NodeName
		default:
			if v, set := e.values[s.Name]; set {
				known[s.Env()] = v
			}
		}
	}
	return known
}

// unknownToCaddy returns the variables whose value Caddy does not find in the
// process's environment by itself.
func (e environment) unknownToCaddy(known map[string]string) map[string]string {
	out := maps.Clone(known)
	for _, s := range table {
		if v, set := e.set[s.Name]; set && v == known[s.Env()] {
			delete(out, s.Env())
		}
	}
	if e.socket != "" {
		delete(out, adminSocketEnv)
	}
	return out
}

var variable = regexp.MustCompile(`\{\$(\w+)(:[^}]*)?\}`)

// insert replaces {$NAME} and {$NAME:default} of known variables in a Caddyfile.
// Caddy's own reader sees the process's environment only, which lacks flags and
// defaults, and replaces the others.
func insert(caddyfile []byte, known map[string]string) []byte {
	return variable.ReplaceAllFunc(caddyfile, func(found []byte) []byte {
		if value, ok := known[string(variable.FindSubmatch(found)[1])]; ok {
			return []byte(value)
		}
		return found
	})
}

// resolve replaces the placeholders {env.NAME} of variables in Caddy's JSON.
func resolve(adapted []byte, known map[string]string) []byte {
	for name, value := range known {
		quoted, err := json.Marshal(escape(value))
		if err != nil {
			continue // a string is always fit for JSON
		}
		adapted = bytes.ReplaceAll(adapted, []byte("{env."+name+"}"), quoted[1:len(quoted)-1])
	}
	return adapted
}
