package caddymodule

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	_ "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile" // the adapter's base
)

// DefaultCaddyfile is what `picloud run` uses when no configuration is named
// or found. Its placeholders are the node's settings.
//
//go:embed default.Caddyfile
var DefaultCaddyfile []byte

// configPaths are where `picloud run` looks for a configuration.
var configPaths = []string{"Caddyfile", "/etc/picloud/Caddyfile"}

// loadConfig returns the configuration to run as Caddy's JSON: the named
// Caddyfile, else the first of configPaths that exists, else the embedded one,
// for which path is empty.
func loadConfig(named string) (adapted []byte, path string, err error) {
	candidates := configPaths
	if named != "" {
		candidates = []string{named}
	}
	for _, path := range candidates {
		config, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err != nil {
			return nil, path, fmt.Errorf("read configuration: %w", err)
		}
		adapted, err := adaptConfig(config, path)
		return adapted, path, err
	}
	adapted, err = adaptConfig(DefaultCaddyfile, "default.Caddyfile")
	return adapted, "", err
}

// adaptConfig turns a Caddyfile into Caddy's JSON.
func adaptConfig(config []byte, name string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(config, map[string]any{"filename": name})
	if err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", name, err)
	}
	return adapted, nil
}
