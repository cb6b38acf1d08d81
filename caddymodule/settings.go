package caddymodule

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/datadir"
)

//go:generate go test -run=^TestConfigDoc$ -count=1 . -update

// table lists every setting, in the order of documentation. It is the one place
// where a setting is declared: flags, environment variables, the Caddyfile
// option, the JSON field, the printed Caddyfile, docs/config.md and the check on
// a reload derive from it.
var table = []setting{
	{
		Name: "data", Otherwise: "./data if a node has its data there, else " + datadir.Service + " as root, ~/.local/share/picloud for others",
		Doc:   "folder that holds everything the node keeps",
		field: text(func(s *settings) *string { return &s.DataDir }),
	},
	{
		Name: "node_name", Otherwise: "host name",
		Doc:   "name of the node, for people; no other node of the database has it",
		field: text(func(s *settings) *string { return &s.NodeName }),
	},
	{
		Name: "bind", Otherwise: "all addresses", Live: true,
		Doc:   "address that functions are served on",
		field: address(func(s *settings) *string { return &s.Bind }),
	},
	{
		Name: "http_port", Default: strconv.Itoa(picloud.DefaultHTTPPort),
		Doc:   "port of functions over HTTP",
		field: port(func(s *settings) *int { return &s.HTTPPort }),
	},
	{
		Name: "https_port", Default: strconv.Itoa(picloud.DefaultHTTPSPort), Live: true,
		Doc:   "port of functions over HTTPS, with certificates of the node's own CA",
		field: port(func(s *settings) *int { return &s.HTTPSPort }),
	},
	{
		Name: "admin_port", Default: strconv.Itoa(picloud.DefaultAdminPort),
		Doc:   "port of the control API, on loopback only",
		field: port(func(s *settings) *int { return &s.AdminPort }),
	},
	{
		Name: "control_hosts", Otherwise: "localhost and the names and addresses of the node",
		Doc:   "further names under which the control API is called over plain HTTP, separated by commas",
		field: text(func(s *settings) *string { return &s.ControlHosts }),
	},
	{
		Name: "join", Otherwise: "the node has a cluster of its own",
		Doc:   "host, or host:port, of a node whose cluster this node joins; a member ignores it",
		field: text(func(s *settings) *string { return &s.Join }),
	},
	{
		Name: "join_token", Otherwise: "none", Word: "token",
		Doc: "token of the invitation that `picloud node invite` printed", Secret: true,
		field: text(func(s *settings) *string { return &s.JoinToken }),
	},
	{
		Name: "advertise", Otherwise: "the address that this node joined from, or that of its first network",
		Doc:   "address or host name by which other nodes reach this one",
		field: address(func(s *settings) *string { return &s.Advertise }),
	},
	{
		Name: "cluster_port", Default: strconv.Itoa(picloud.DefaultClusterPort),
		Doc:   "port for other nodes, encrypted; it opens with the first invitation",
		field: port(func(s *settings) *int { return &s.ClusterPort }),
	},
	{
		Name: "gossip_port", Default: strconv.Itoa(picloud.DefaultGossipPort),
		Doc:   "port on which nodes hear of one another, TCP and UDP, encrypted; it opens with the cluster port",
		field: port(func(s *settings) *int { return &s.GossipPort }),
	},
	{
		Name: "log_level", Default: "WARN", Live: true,
		Doc:   "level of the node's own log: DEBUG, INFO, WARN or ERROR",
		field: text(func(s *settings) *string { return &s.LogLevel }), // Caddy checks it
	},
	{
		Name: "database_url", Otherwise: "managed PostgreSQL below data",
		Doc: "DSN of a PostgreSQL 15 or newer", Secret: true,
		field: text(func(s *settings) *string { return &s.DatabaseURL }),
	},
	{
		Name: "postgres_bin", Otherwise: "newest found on this machine",
		Doc:   "folder of the PostgreSQL binaries for the managed server",
		field: text(func(s *settings) *string { return &s.PostgresBin }),
	},
	{
		Name: "executor", Otherwise: "picloud-executor beside the binary",
		Doc:   "path of the executor binary",
		field: text(func(s *settings) *string { return &s.WorkerPath }),
	},
	{
		Name: "sandbox", Otherwise: "strict on Linux, else best_effort",
		Doc:   "strict runs no function when this machine cannot keep it in, best_effort warns and runs it",
		field: either(executor.SandboxStrict, executor.SandboxBestEffort, func(s *settings) *string { return &s.Sandbox }),
	},
	{
		Name: "executor_idle", Otherwise: "1m",
		Doc:   "how long an executor without calls stays, 1s to 24h",
		field: duration(time.Second, 24*time.Hour, "between 1s and 24h", func(s *settings) *time.Duration { return &s.ExecutorIdle }),
	},
	{
		Name: "executor_memory", Otherwise: "half of the machine's",
		Doc:   "sum of the memory limits of all executors",
		field: size(picloud.DefaultLimits().Memory, func(s *settings) *int64 { return &s.ExecutorMemory }),
	},
	{
		Name: "executor_workers", Otherwise: "one per core, at most 4",
		Doc:   "executors of one app at once, 1 to 256",
		field: number("a number", 1, 256, func(s *settings) *int { return &s.ExecutorWorkers }),
	},
	{
		Name: "transit_memory", Otherwise: "80MiB, less on small machines",
		Doc:   "memory for bodies, answers and values on their way",
		field: size(64<<20, func(s *settings) *int64 { return &s.TransitMemory }),
	},
	{
		Name: "dump_every", Otherwise: "6h",
		Doc:   "how often the node of a managed database gives other nodes a dump of it, 1m to 168h; 0 turns that off",
		field: dumpEvery(func(s *settings) *time.Duration { return &s.DumpEvery }),
	},
}

// text is a field that takes everything.
func text(place func(*settings) *string) field {
	return in[string]{place, func(text string) (string, bool) { return text, true }, misfit{}}
}

// hostName is what may be resolved to an address.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// address is a field that takes an address of this machine or a name of one.
func address(place func(*settings) *string) field {
	return in[string]{place, func(text string) (string, bool) {
		bare := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
		if _, err := netip.ParseAddr(bare); err == nil {
			return bare, true
		}
		return text, len(text) <= 253 && hostName.MatchString(text)
	}, misfit{noun: "an IP address or a host name"}}
}

// either is a field that takes one of two words.
func either(a, b string, place func(*settings) *string) field {
	return in[string]{place, func(text string) (string, bool) { return text, text == a || text == b }, misfit{noun: a + " or " + b}}
}

// port is a field that takes the number of a TCP port.
func port(place func(*settings) *int) field { return number("a port", 1, 65535, place) }

// number is a field that takes a number of at least low and at most high.
func number(noun string, low, high int, place func(*settings) *int) field {
	return in[int]{place, func(text string) (int, bool) {
		n, err := strconv.ParseUint(text, 10, 16)
		return int(n), err == nil && int(n) >= low && int(n) <= high
	}, misfit{noun, fmt.Sprintf("between %d and %d", low, high)}}
}

// duration is a field that takes a duration of at least low and at most high.
func duration(low, high time.Duration, bounds string, place func(*settings) *time.Duration) field {
	return in[time.Duration]{place, func(text string) (time.Duration, bool) {
		d, err := caddy.ParseDuration(text)
		return d, err == nil && d >= low && d <= high
	}, misfit{"a duration", bounds}}
}

// dumpEvery is a field that takes a duration, or 0 for never.
func dumpEvery(place func(*settings) *time.Duration) field {
	return in[time.Duration]{place, func(text string) (time.Duration, bool) {
		d, err := caddy.ParseDuration(text)
		if err == nil && d == 0 {
			return -1, true // the zero value stands for the default
		}
		return d, err == nil && d >= time.Minute && d <= 7*24*time.Hour
	}, misfit{"a duration", "between 1m and 168h, or 0"}}
}

// size is a field that takes a number of bytes, such as 1GiB, of at least low.
func size(low picloud.Size, place func(*settings) *int64) field {
	return in[int64]{place, func(text string) (int64, bool) {
		n, err := picloud.ParseSize(text)
		return int64(n), err == nil && n >= low
	}, misfit{"a size", fmt.Sprintf("of at least %s", low)}}
}
