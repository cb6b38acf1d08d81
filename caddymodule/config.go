package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile" // the adapter's base

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// configHere is the Caddyfile in the working folder.
const configHere = "Caddyfile"

// configPaths are where `picloud run` looks for a configuration.
var configPaths = []string{configHere, "/etc/picloud/Caddyfile"}

// config is a configuration to run.
type config struct {
	json []byte // Caddy's
	path string // of the Caddyfile; empty: the embedded configuration
	home home   // of the node
	// sites says that the owner's Caddyfile has sites of its own.
	sites bool
	// overruled are the flags and variables whose settings the Caddyfile sets otherwise.
	overruled []setting
}

// configure makes the configuration: of the named Caddyfile, else of the first of
// configPaths that exists, else of the settings alone. It reads, and makes nothing.
func (e environment) configure(named string) (config, error) {
	candidates := configPaths
	if named != "" {
		candidates = []string{named}
	}
	for _, path := range candidates {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err == nil && named == "" && path == configHere {
			err = e.believes(path)
		}
		if err != nil {
			return config{}, fmt.Errorf("read configuration: %w", err)
		}
		return e.ofCaddyfile(text, path)
	}
	h, err := e.home()
	if err != nil {
		return config{}, err
	}
	json, err := h.config()
	return config{json: json, home: h}, err
}

// believes refuses a Caddyfile of somebody else that nobody has named: it says which
// folder a node has, and what it serves.
func (e environment) believes(path string) error {
	if e.owners == nil {
		return nil
	}
	err := e.owners.Check(path)
	if foreign := (*datadir.Foreign)(nil); errors.As(err, &foreign) {
		foreign.Hint = "if you trust them, name it: --config " + path + "; else go to another folder"
	}
	return err
}

// ofCaddyfile makes the configuration of an owner's Caddyfile. Its settings win
// over the environment, whether it has sites of its own or gets the embedded ones.
func (e environment) ofCaddyfile(text []byte, path string) (config, error) {
	mine, err := e.home()
	if err != nil {
		return config{}, err
	}
	first := e.variables(mine)
	tree, err := e.adapt(text, path, first)
	if err != nil {
		return config{}, err
	}
	set, err := tree.settings()
	if err != nil {
		return config{}, fmt.Errorf("read configuration %s: %w", path, err)
	}
	t, socket := literal(e.values), e.socket
	maps.Copy(t, set)
	if t["data"] != literal(e.values)["data"] {
		socket = "" // the one of the environment belongs to another folder
	}
	h, err := locate(t, socket, e.data)
	if err != nil {
		return config{}, err
	}
	c := config{path: path, home: h, sites: tree.at("apps", "http") != nil, overruled: e.overruled(set)}
	if !c.sites {
		if tree.at("apps", "picloud") == nil {
			return c, noNode(path)
		}
		c.json, err = h.below(tree)
		return c, err
	}
	if !tree.hasNode() {
		return c, noNode(path)
	}
	// The sites see what the settings of the file say, as they see the environment.
	if again := e.variables(h); !maps.Equal(again, first) {
		if tree, err = e.adapt(text, path, again); err != nil {
			return c, err
		}
	}
	c.json, err = h.complete(tree)
	return c, err
}

// noNode says that a Caddyfile starts no node.
func noNode(path string) error {
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "start node", Resource: path,
		Detail: "the configuration has no picloud directive",
		Hint:   "start from `picloud config show`",
	}
}

// overruled returns the settings of the environment that a Caddyfile sets to
// something else.
func (e environment) overruled(set texts) []setting {
	mine, err := literal(e.values).read()
	if err != nil {
		return nil // it was refused
	}
	theirs, err := set.read()
	if err != nil {
		return nil // it is refused later
	}
	var out []setting
	for _, s := range table {
		if e.values[s.Name] != "" && set[s.Name] != "" && !s.field.same(&mine, &theirs) {
			out = append(out, s)
		}
	}
	return out
}

// adapt turns a Caddyfile into Caddy's configuration, with these variables.
func (e environment) adapt(caddyfile []byte, name string, known map[string]string) (tree, error) {
	marked, marks := insert(caddyfile, known)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(marked, map[string]any{"filename": name})
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", name, marks.hide(err))
	}
	t, err := parseTree(adapted)
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", name, err)
	}
	t.replace(marks, e.unknownToCaddy(known))
	return t, nil
}

// variables returns the environment variables that an owner's Caddyfile can name,
// with what flags, defaults and its own settings make of them.
func (e environment) variables(h home) map[string]string {
	known := map[string]string{adminSocketEnv: h.socket}
	for _, s := range table {
		switch s.Name {
		case "data":
			known[s.Env()] = h.DataDir
		case "node_name":
			known[s.Env()] = h.NodeName
		default:
			// A default of the Caddyfile's own stands where a setting has its default.
			if v, ok := h.texts.literal(s.Name); ok && (v != s.Default || e.values[s.Name] != "") {
				if s.Name == "bind" {
					v = h.Bind // without the brackets of an IPv6 address: the sites write it as one part of an address
				}
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
	if e.socket != "" && e.socket == known[adminSocketEnv] {
		delete(out, adminSocketEnv)
	}
	return out
}
