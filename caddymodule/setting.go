package caddymodule

import (
	"fmt"
	"strings"
)

// Setting is one setting of a node. It exists under one name as Caddyfile
// option (name), flag (--name with hyphens) and environment variable.
type Setting struct {
	Name    string // "http_port"
	Env     string // "PICLOUD_HTTP_PORT"
	Default string // as documented; the empty string has a meaning that Doc tells
	Doc     string
	set     func(*App, string)
	get     func(*App) string
}

// Flag returns the name of the command line flag, without hyphens in front.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

//go:generate go test -run=^TestConfigDoc$ -count=1 . -update

// Settings lists every setting, in the order of documentation.
var Settings = []Setting{
	{
		"data", "PICLOUD_DATA", "/var/lib/picloud as root, else ~/.local/share/picloud",
		"folder that holds everything the node keeps",
		func(a *App, v string) { a.Data = v }, func(a *App) string { return a.Data },
	},
	{
		"node_name", "PICLOUD_NODE_NAME", "host name",
		"name of the node, for people",
		func(a *App, v string) { a.NodeName = v }, func(a *App) string { return a.NodeName },
	},
	{
		"bind", "PICLOUD_BIND", "all addresses",
		"address that functions are served on",
		func(a *App, v string) { a.Bind = v }, func(a *App) string { return a.Bind },
	},
	{
		"http_port", "PICLOUD_HTTP_PORT", "8080",
		"port of functions over HTTP",
		func(a *App, v string) { a.HTTPPort = v }, func(a *App) string { return a.HTTPPort },
	},
	{
		"https_port", "PICLOUD_HTTPS_PORT", "8443",
		"port of functions over HTTPS, with certificates of the node's own CA",
		func(a *App, v string) { a.HTTPSPort = v }, func(a *App) string { return a.HTTPSPort },
	},
	{
		"admin_port", "PICLOUD_ADMIN_PORT", "8081",
		"port of the control API, on loopback only",
		func(a *App, v string) { a.AdminPort = v }, func(a *App) string { return a.AdminPort },
	},
	{
		"log_level", "PICLOUD_LOG_LEVEL", "WARN",
		"level of the node's own log: DEBUG, INFO, WARN or ERROR",
		func(a *App, v string) { a.LogLevel = v }, func(a *App) string { return a.LogLevel },
	},
	{
		"database_url", "PICLOUD_DATABASE_URL", "managed PostgreSQL below data",
		"DSN of a PostgreSQL 15 or newer",
		func(a *App, v string) { a.DatabaseURL = v }, func(a *App) string { return a.DatabaseURL },
	},
	{
		"postgres_bin", "PICLOUD_POSTGRES_BIN", "newest found on this machine",
		"folder of the PostgreSQL binaries for the managed server",
		func(a *App, v string) { a.PostgresBin = v }, func(a *App) string { return a.PostgresBin },
	},
	{
		"executor", "PICLOUD_EXECUTOR", "picloud-executor beside the binary",
		"path of the executor binary",
		func(a *App, v string) { a.Executor = v }, func(a *App) string { return a.Executor },
	},
	{
		"sandbox", "PICLOUD_SANDBOX", "strict on Linux, else best_effort",
		"strict runs no function when this machine cannot keep it in, best_effort warns and runs it",
		func(a *App, v string) { a.Sandbox = v }, func(a *App) string { return a.Sandbox },
	},
	{
		"executor_idle", "PICLOUD_EXECUTOR_IDLE", "1m",
		"how long an executor without calls stays, 1s to 24h",
		func(a *App, v string) { a.ExecutorIdle = v }, func(a *App) string { return a.ExecutorIdle },
	},
	{
		"executor_memory", "PICLOUD_EXECUTOR_MEMORY", "half of the machine's",
		"sum of the memory limits of all executors",
		func(a *App, v string) { a.ExecutorMemory = v }, func(a *App) string { return a.ExecutorMemory },
	},
	{
		"executor_workers", "PICLOUD_EXECUTOR_WORKERS", "one per core, at most 4",
		"executors of one app at once, 1 to 256",
		func(a *App, v string) { a.ExecutorWorkers = v }, func(a *App) string { return a.ExecutorWorkers },
	},
}

// settingNamed finds a setting by its Caddyfile option; the error lists all.
func settingNamed(name string) (Setting, error) {
	names := make([]string, 0, len(Settings))
	for _, s := range Settings {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Setting{}, fmt.Errorf("unknown option %q; picloud has %s", name, strings.Join(names, ", "))
}
