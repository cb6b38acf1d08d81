package caddymodule

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/picloud/picloud/internal/datadir"
)

// adminSocketEnv names the variable with the path of Caddy's admin socket. It is
// not a setting: it exists for the printed Caddyfile and for tests.
const adminSocketEnv = "PICLOUD_ADMIN_SOCKET"

// environment is what the process was started with: flags and environment, read
// once. A configuration is made from it, at the start and on each reload.
type environment struct {
	values map[string]string // settings that are set, by name; a flag wins over a variable
	set    map[string]string // those of values that a variable has set
	socket string            // of Caddy's admin API; empty: below the data folder
	data   string            // the data folder when nothing names one: a node's below the working folder, else the user's
	// owners are those of a folder or Caddyfile that nobody names and that is used all the
	// same, because it lies in the working folder. Nil: everybody.
	owners datadir.Owners
}

// readEnvironment reads the settings from environment variables.
func readEnvironment(getenv func(string) string) environment {
	e := environment{values: map[string]string{}, set: map[string]string{}, socket: getenv(adminSocketEnv), data: datadir.Default(getenv), owners: datadir.Believed(getenv)}
	if found, err := filepath.Abs("data"); err == nil && isNodes(found) {
		e.data = found // the folder of `make run`
	}
	for _, s := range table {
		if v := getenv(s.Env()); v != "" {
			e.values[s.Name], e.set[s.Name] = v, v
		}
	}
	return e
}

// own leaves a folder of somebody else, which lies below the working folder, alone:
// who starts a node there by chance must not trust what is in it. Root's node does not
// take the folder of the user who called sudo either: its files would become root's.
func (e *environment) own(getenv func(string) string) {
	if (datadir.Owners{os.Geteuid()}).Check(e.data) != nil {
		e.data = datadir.Default(getenv)
	}
}

// found returns the data folder when nothing names one. It refuses one below the working
// folder that belongs to a stranger: that one would get orders, or signals would go to the
// process that it names.
func (e environment) found() (string, error) {
	dir, err := filepath.Abs(e.data)
	if err != nil || e.owners == nil || dir == datadir.Service { // only root can have made that one
		return dir, err
	}
	err = e.owners.Check(dir)
	if foreign := (*datadir.Foreign)(nil); errors.As(err, &foreign) {
		foreign.Hint = "if you trust them, name it: --data " + datadir.Quote(datadir.Shorten(dir)) + "; else go to another folder"
	}
	return dir, err
}

// isNodes reports whether a node has kept its data in a folder.
func isNodes(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "node.json"))
	return err == nil
}

// home is what must be known of a node before its configuration is made: its data
// folder, its name and its ports.
type home struct {
	settings        // of those that a home has; see homely
	texts    texts  // all settings, with the data folder and the node's name filled in
	socket   string // of Caddy's admin API
}

// homely are the settings that a home reads.
var homely = []string{
	"data", "node_name", "bind", "http_port", "https_port", "admin_port", "join", "join_token", "advertise", "cluster_port", "gossip_port",
}

// whereabouts reads and checks the settings of a home. It does no I/O.
func whereabouts(t texts, defaultData string) (settings, error) {
	s, err := t.read(homely...)
	if invalid := (*invalidSetting)(nil); errors.As(err, &invalid) {
		return s, invalid.explain()
	}
	if s.DataDir == "" {
		s.DataDir = defaultData
	}
	if s.Options, err = s.Complete(); err != nil {
		return s, err
	}
	return s, s.checkPorts()
}

// locate finds a node's home, and makes nothing. An empty socket is one below the
// data folder.
func locate(t texts, socket, defaultData string) (home, error) {
	s, err := whereabouts(t, defaultData)
	if err != nil {
		return home{}, err
	}
	if socket == "" {
		socket = filepath.Join(datadir.RunPath(s.DataDir), "caddy.sock")
	}
	h := home{settings: s, texts: texts{}, socket: socket}
	for _, s := range table {
		if h.texts[s.Name] = t[s.Name]; h.texts[s.Name] == "" {
			h.texts[s.Name] = s.Default
		}
	}
	h.texts["data"], h.texts["node_name"] = escape(s.DataDir), escape(s.NodeName)
	return h, nil
}

// home finds the home that flags and environment name, and refuses what is no value
// of its setting.
func (e environment) home() (home, error) {
	t := literal(e.values)
	if _, err := t.read(); err != nil {
		if invalid := (*invalidSetting)(nil); errors.As(err, &invalid) {
			return home{}, invalid.explain()
		}
		return home{}, err
	}
	return locate(t, e.socket, e.data)
}

// prepare makes the home's folders.
func (h home) prepare() error {
	if err := datadir.Resume(h.DataDir); err != nil {
		return err
	}
	_, err := datadir.RunDir(h.DataDir)
	return err
}

// adminAddress is where Caddy's admin API listens: whoever speaks to it owns the
// node, so the socket is the user's alone.
func (h home) adminAddress() string { return "unix/" + h.socket + "|0600" }

// storage is the folder of Caddy's certificates.
func (h home) storage() string { return filepath.Join(h.DataDir, "caddy") }

// furnish points what Caddy keeps outside of its configuration at the node's own
// folder. It runs once, before Caddy starts.
func (h home) furnish() error {
	// A configuration without an admin line would open Caddy's admin API to every
	// process of the machine: localhost:2019.
	caddy.DefaultAdminListen = h.adminAddress()
	caddy.DefaultStorage = &certmagic.FileStorage{Path: h.storage()}
	caddy.ConfigAutosavePath = filepath.Join(h.storage(), "autosave.json")
	// caddy.InstanceID and the ACME server of Caddy's pki keep files below
	// caddy.AppDataDir, which reads this variable and nothing else. Without it
	// they would land in the folder of a Caddy of the same user.
	if err := os.Setenv("XDG_DATA_HOME", h.DataDir); err != nil {
		return fmt.Errorf("set folder of Caddy's files: %w", err)
	}
	return h.retireCA(time.Now())
}
