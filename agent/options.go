package agent

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// Options say what a node is. They are fixed for the life of the process;
// changing one needs a restart.
type Options struct {
	// DataDir holds everything the node keeps. Required; made absolute.
	DataDir string
	// NodeName names the node for people. Default: the host name.
	NodeName string
	// DatabaseURL is a PostgreSQL DSN. Empty: the node runs its own server
	// below DataDir.
	DatabaseURL string
	// Lock is the lock on DataDir when the caller holds it already. Default:
	// Start takes it, Stop gives it back.
	Lock *datadir.Lock
	// PostgresBin is the folder of the managed server's binaries. Default: the
	// newest found on this machine.
	PostgresBin string
	// HTTPPort and AdminPort are where functions and the control API are
	// served. They only appear in URLs: Caddy owns the listeners. Defaults:
	// picloud.DefaultHTTPPort and picloud.DefaultAdminPort.
	HTTPPort, AdminPort int
	// ControlHosts are further names under which the control API is called, separated
	// by commas or blanks. localhost, the machine's name, NodeName, NodeName.local and
	// the machine's addresses need not be named. Default: none.
	ControlHosts string
	// ClusterBind is the address on which the node listens to other nodes. Default: all.
	ClusterBind string
	// ClusterPort and GossipPort are the ports on which it does, once there are any.
	// Defaults: picloud.DefaultClusterPort and picloud.DefaultGossipPort.
	ClusterPort, GossipPort int
	// Advertise is the host name or address that other nodes use to reach this one.
	// Default: found out.
	Advertise string
	// Join is a member of the cluster that this node is to join, HOST or HOST:PORT, and
	// JoinToken the token of its invitation. A member ignores both. Default: none.
	Join, JoinToken string
	// Reserved says which other ports are the node's own, so that no function
	// reaches them on an address of this machine, whatever its egress rules say.
	// It is asked for each outbound connection. Default: none.
	Reserved func(port uint16) bool
	// WorkerPath is the executor binary. Default: picloud-executor beside the
	// running binary.
	WorkerPath string
	// Sandbox is "strict", which starts no function when the machine cannot keep
	// it in, or "best_effort", which warns. Default: strict on Linux.
	Sandbox string
	// ExecutorIdle is how long an executor without calls stays. Default 60 s.
	ExecutorIdle time.Duration
	// ExecutorMemory bounds the sum of the memory limits of all executors, in
	// bytes. Default: half of the machine's memory.
	ExecutorMemory int64
	// ExecutorWorkers is the most executors of one app. Default: one per core,
	// at most 4.
	ExecutorWorkers int
	// TransitMemory bounds the memory of everything that is large and on its way,
	// in bytes: bodies, answers, and what functions ask of the node. Default: an
	// eighth of the machine's memory, 64 MiB to 80 MiB.
	TransitMemory int64
	// DumpEvery is how often the node of a managed database gives a dump of it to other
	// nodes. 0: every 6 h. Below: not by itself.
	DumpEvery time.Duration
	// Version is the version of the binary. Default "dev".
	Version string
	// Logger takes the node's own log. Default: slog.Default().
	Logger *slog.Logger

	now func() time.Time // the clock for certificates; nil: the machine's
}

// Complete checks the options and fills in the defaults that do not depend on
// the state of the machine. It touches neither disk nor network.
func (o Options) Complete() (Options, error) {
	if o.DataDir == "" {
		return o, &picloud.Error{
			Code: picloud.CodeInvalid, Op: "start node", Detail: "no data folder is set",
			Hint: "set PICLOUD_DATA, --data or the Caddyfile option data",
		}
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return o, fmt.Errorf("resolve data folder %s: %w", o.DataDir, err)
	}
	o.DataDir = dir
	if o.NodeName == "" {
		o.NodeName = DefaultNodeName()
	}
	if err := picloud.CheckName("node_name", o.NodeName); err != nil {
		return o, err
	}
	if o.HTTPPort == 0 {
		o.HTTPPort = picloud.DefaultHTTPPort
	}
	if o.AdminPort == 0 {
		o.AdminPort = picloud.DefaultAdminPort
	}
	if o.ClusterPort == 0 {
		o.ClusterPort = picloud.DefaultClusterPort
	}
	if o.GossipPort == 0 {
		o.GossipPort = picloud.DefaultGossipPort
	}
	if o.TransitMemory == 0 {
		o.TransitMemory = defaultTransit()
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// reserved reports whether a port is the node's own.
func (o Options) reserved(port uint16) bool {
	return slices.Contains([]int{o.HTTPPort, o.AdminPort, o.ClusterPort, o.GossipPort}, int(port)) || o.Reserved != nil && o.Reserved(port)
}

// FunctionsURL is where this node serves functions, as seen from itself.
func (o Options) FunctionsURL() string {
	return "http://" + net.JoinHostPort("localhost", strconv.Itoa(o.HTTPPort))
}

// ControlURL is where this node serves the control API, as seen from itself.
func (o Options) ControlURL() string {
	return "http://" + net.JoinHostPort("localhost", strconv.Itoa(o.AdminPort))
}
