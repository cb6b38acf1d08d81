package caddymodule

import (
	_ "embed"
	"encoding/json"
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
		if err != nil {
			return nil, path, err
		}
		if settings := settingsAlone(adapted); settings != nil {
			adapted, err = embeddedWith(settings)
		}
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

// settingsAlone returns the node's settings if a configuration has nothing but
// them: no site of its own. Then the embedded sites serve, with these settings.
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

// embeddedWith returns the embedded configuration with settings of a Caddyfile,
// which it reads from the environment like all others.
func embeddedWith(settings *App) ([]byte, error) {
	for _, s := range Settings {
		if v := s.get(settings); v != "" {
			if err := os.Setenv(s.Env, v); err != nil {
				return nil, err
			}
		}
	}
	if settings.Data != "" {
		if err := os.Unsetenv("PICLOUD_ADMIN_SOCKET"); err != nil { // it belongs to the folder
			return nil, err
		}
	}
	if err := completeEnvironment(); err != nil {
		return nil, err
	}
	return adaptConfig(DefaultCaddyfile, "default.Caddyfile")
}
