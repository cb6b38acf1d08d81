package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

func runCommand() *cobra.Command {
	var config string
	values := map[string]*string{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start a node",
		Long: "Start a node: functions, control API, executors and, unless a database is\n" +
			"named, a PostgreSQL of its own. Every setting is a flag, an environment\n" +
			"variable and a Caddyfile option; flags win over the environment.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range Settings {
				if cmd.Flags().Changed(s.Flag()) {
					if err := useFlag(s, *values[s.Name]); err != nil {
						return err
					}
				}
			}
			return run(cmd.OutOrStdout(), config)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "Caddyfile (default: ./Caddyfile, /etc/picloud/Caddyfile, else the embedded one)")
	for _, s := range Settings {
		values[s.Name] = cmd.Flags().String(s.Flag(), "", fmt.Sprintf("%s (default: %s) [$%s]", s.Doc, s.Default, s.Env))
	}
	return cmd
}

// useFlag hands a flag's value to the configuration, which reads the environment.
func useFlag(s Setting, value string) error {
	if s.Name == "database_url" && hasPassword(value) {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: "read --database-url",
			Detail: "a password on the command line shows in process lists",
			Hint:   "set PICLOUD_DATABASE_URL instead",
		}
	}
	return os.Setenv(s.Env, value)
}

// hasPassword reports whether a DSN, as URL or as key=value list, holds a password.
func hasPassword(dsn string) bool {
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		_, set := u.User.Password()
		return set
	}
	return strings.Contains(strings.ToLower(dsn), "password")
}

// run starts a node and stays until a signal ends it.
func run(out io.Writer, configFlag string) error {
	begun := time.Now()
	if err := completeEnvironment(); err != nil {
		return err
	}
	adapted, path, err := loadConfig(configFlag)
	if err != nil {
		return err
	}
	// The lock comes before Caddy, which would replace a running node's admin socket.
	if dataLock, err = datadir.Acquire(os.Getenv("PICLOUD_DATA")); err != nil {
		return err
	}
	defer dataLock.Release()
	if path == "" {
		if err := probePorts(); err != nil {
			return err
		}
	}
	caddy.TrapSignals()
	if err := caddy.Load(adapted, true); err != nil {
		return fmt.Errorf("start node: %w", err)
	}
	setSource(func() ([]byte, error) {
		adapted, _, err := loadConfig(configFlag)
		return adapted, err
	})
	caddy.SetLastConfig(path, "caddyfile", func(string, string) error { return reload() }) // SIGUSR1
	node := running.Load()
	if node == nil {
		return &picloud.Error{
			Code: picloud.CodeInvalid, Op: "start node", Resource: path,
			Detail: "the configuration has no picloud directive",
			Hint:   "start from `picloud config show`",
		}
	}
	if err := announce(context.Background(), out, node, begun); err != nil {
		return errors.Join(err, caddy.Stop())
	}
	select {} // a signal ends the process through Caddy
}

// completeEnvironment fills in the settings that the configuration reads and
// that have no constant default, and makes the folders that Caddy needs.
func completeEnvironment() error {
	data := os.Getenv("PICLOUD_DATA")
	if data == "" {
		data = DefaultDataDir()
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return fmt.Errorf("resolve data folder: %w", err)
	}
	if err := datadir.Prepare(data); err != nil {
		return err
	}
	runDir, err := datadir.RunDir(data)
	if err != nil {
		return err
	}
	if name := os.Getenv("PICLOUD_NODE_NAME"); name != "" {
		if err := picloud.CheckName("node_name", name); err != nil {
			return err
		}
	}
	if err := checkPorts(); err != nil {
		return err
	}
	defaults := map[string]string{
		"PICLOUD_DATA":         data,
		"PICLOUD_NODE_NAME":    agent.DefaultNodeName(),
		"PICLOUD_ADMIN_SOCKET": filepath.Join(runDir, "caddy.sock"),
	}
	for name, value := range defaults {
		if os.Getenv(name) == "" || name == "PICLOUD_DATA" {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	// A configuration without an admin line would open Caddy's admin API, which
	// owns the node, to every process of the machine: localhost:2019.
	caddy.DefaultAdminListen = "unix/" + os.Getenv("PICLOUD_ADMIN_SOCKET") + "|0600"
	// Nothing of Caddy's may land in a Caddy of the same user.
	caddy.ConfigAutosavePath = filepath.Join(data, "caddy", "autosave.json")
	return os.Setenv("XDG_DATA_HOME", data)
}

// useFoundDataDir makes commands about a running node look where `make run`
// keeps its data, unless a folder is named.
func useFoundDataDir() error {
	if os.Getenv("PICLOUD_DATA") != "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join("data", "node.json")); err != nil {
		return nil //nolint:nilerror // no node keeps its data here: the default folder
	}
	return os.Setenv("PICLOUD_DATA", "data")
}
