package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/internal/datadir"
)

const (
	// databasePatience is how long the first screen waits for a node that serves
	// from disk to reach its database, so that the screen does not describe the
	// first milliseconds.
	databasePatience = 3 * time.Second
	// waitingInterval is how often a start that takes long says why.
	waitingInterval = 5 * time.Second
	// fewFiles is a limit of open files under which a node meets its end with
	// connections that many services have: each call holds two or three.
	fewFiles = 1024
)

// announce tells people that the node is ready, or what it waits for. An error
// means that waiting will not help. A screen that nobody can read is no error.
func announce(ctx context.Context, out io.Writer, node *agent.Agent, c config, joined agent.Joined, defaultData string) error {
	wait := time.NewTicker(waitingInterval)
	defer wait.Stop()
	begun, said := launched.Load().begun, ""
	for {
		select {
		case <-node.Ready():
			took := time.Since(begun)
			awaitDatabase(ctx, node)
			status := node.Status()
			status.FunctionsURL = c.home.functionsURL()
			_, _ = io.WriteString(out, welcome(status, joined)+banner(status, took)+c.network(lanAddresses())+c.remarks(openFiles())+c.howToStop(defaultData))
			return nil
		case err := <-node.Fatal():
			return err
		case <-wait.C:
			status := node.Status()
			if why := waiting(status); why != said {
				said = why
				fmt.Fprintf(out, "PiCloud node %s waits: %s\n", status.NodeName, why)
				if hint := hintOf(status); hint != "" {
					fmt.Fprintf(out, "  %s\n", hint)
				}
			}
		}
	}
}

// awaitDatabase waits until the node knows whether it reaches its database, for
// databasePatience at most.
func awaitDatabase(ctx context.Context, node *agent.Agent) {
	ctx, cancel := context.WithTimeout(ctx, databasePatience)
	defer cancel()
	select {
	case <-node.DatabaseSettled():
	case <-ctx.Done():
	}
}

// banner is the first screen of `picloud run`: the node serves.
func banner(s agent.Status, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "PiCloud node %s ready in %.1f s    functions %s/fn/…    control %s\n", s.NodeName, took.Seconds(), s.FunctionsURL, s.ControlURL)
	fmt.Fprintf(&b, "database: %s", describeDatabase(s.Database, datadir.Shorten))
	if s.Credentials != "" {
		fmt.Fprintf(&b, "          first-run admin token saved to %s (0600)", datadir.Shorten(s.Credentials))
	}
	b.WriteByte('\n')
	if hint := hintOf(s); hint != "" {
		fmt.Fprintf(&b, "          %s: %s\n", waiting(s), hint)
	}
	if c := s.Cluster; c != nil {
		fmt.Fprintf(&b, "cluster:  %s; other nodes reach this one at %s\n", c.Name, c.Address)
	}
	if s.Memory.Agent > 0 {
		fmt.Fprintf(&b, "memory:   %s\n", s.Memory)
	}
	switch {
	case s.Secrets != nil:
		fmt.Fprintf(&b, "secrets:  not available on this node; `picloud doctor` says what to do\n")
	case s.ClusterKey != "":
		fmt.Fprintf(&b, "secrets:  sealed with %s; keep a copy of it elsewhere: without it nobody can read them\n", datadir.Shorten(s.ClusterKey))
	}
	return b.String()
}

// welcome says that the node has become a member, at this start.
func welcome(s agent.Status, joined agent.Joined) string {
	if joined.Cluster == "" || joined.Already {
		return ""
	}
	return fmt.Sprintf("PiCloud node %s joined cluster %q in %.1f s; %s live\n", s.NodeName, joined.Cluster, joined.Took.Seconds(), picloud.Count(s.Functions, "function"))
}

// network says who reaches the node: what listens where.
func (c config) network(lan []netip.Addr) string {
	if c.sites {
		addresses, _ := c.addresses() // they were read when the ports were probed
		return fmt.Sprintf("network:  listens on %s, as %s says\n", strings.Join(addresses, ", "), datadir.Shorten(c.path))
	}
	h := c.home
	switch {
	case h.everywhere():
		var urls []string
		for _, address := range lan {
			urls = append(urls, "http://"+net.JoinHostPort(address.String(), strconv.Itoa(h.HTTPPort)))
		}
		text := fmt.Sprintf("network:  functions on every interface, ports %d and %d", h.HTTPPort, h.HTTPSPort)
		if len(urls) > 0 {
			text += ", so " + strings.Join(urls, " and ")
		}
		return text + "; PICLOUD_BIND=127.0.0.1 keeps them on this machine\n"
	case h.Bind == "localhost" || isLoopback(h.Bind):
		return "network:  this machine only, as bind says\n"
	default:
		return fmt.Sprintf("network:  functions on %s, as bind says; control on this machine only\n", h.Bind)
	}
}

// remarks are what the owner may not know about the configuration and the machine.
func (c config) remarks(files uint64) string {
	var b strings.Builder
	for _, s := range c.overruled {
		fmt.Fprintf(&b, "settings: %s sets %s; %s and --%s are not used\n", datadir.Shorten(c.path), s.Name, s.Env(), s.Flag())
	}
	if files > 0 && files < fewFiles {
		fmt.Fprintf(&b, "limits:   this process may open %d files and connections only; raise the hard limit: ulimit -Hn, or LimitNOFILE= of the service\n", files)
	}
	return b.String()
}

// howToStop names the command that finds this node again.
func (c config) howToStop(defaultData string) string {
	command := "picloud stop"
	if c.home.DataDir != defaultData {
		command += " --data " + datadir.Quote(datadir.Shorten(c.home.DataDir))
	}
	return "to stop:  Ctrl-C, or " + command + "\n"
}

// everywhere reports whether functions are served on every interface.
func (h home) everywhere() bool {
	address, err := netip.ParseAddr(h.Bind)
	return h.Bind == "" || err == nil && address.IsUnspecified()
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// functionsURL is where functions are served, as seen from this machine.
func (h home) functionsURL() string {
	host := localName
	// The name leads to 127.0.0.1, and not on every machine to ::1 too.
	if !h.everywhere() && h.Bind != adminHost {
		host = h.Bind
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(h.HTTPPort))
}

// maxShown bounds how many addresses of the machine the first screen shows.
const maxShown = 2

// lanAddresses are addresses under which other machines may reach this one. Bridges
// of container engines are left out.
func lanAddresses() []netip.Addr {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var four, six []netip.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || isBridge(i.Name) {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			prefix, err := netip.ParsePrefix(a.String())
			switch address := prefix.Addr(); {
			case err != nil || !address.IsGlobalUnicast():
			case address.Is4():
				four = append(four, address)
			default:
				six = append(six, address)
			}
		}
	}
	if len(four) == 0 {
		four = six
	}
	return four[:min(len(four), maxShown)]
}

// isBridge reports whether an interface leads to containers of this machine.
func isBridge(name string) bool {
	for _, prefix := range []string{"docker", "br-", "veth", "virbr", "cni", "podman"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// openFiles is how many files the process may open; 0: not known. Go has raised the
// soft limit to the hard one.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return limit.Cur
}

func describeDatabase(d *agent.DatabaseStatus, path func(string) string) string {
	switch {
	case d == nil:
		return "none"
	case d.Err != nil:
		return "not reached yet; serving the copy on disk"
	case d.Folder != "":
		return fmt.Sprintf("managed PostgreSQL %s in %s", d.Version, path(d.Folder))
	case d.Through != "":
		return "PostgreSQL of " + d.Through + ", through its cluster port"
	default:
		return "PostgreSQL at the configured DSN"
	}
}

// waiting says what keeps the node from being ready.
func waiting(s agent.Status) string {
	if s.Database != nil && s.Database.Err != nil {
		return s.Database.Err.Error()
	}
	return "loading the catalog"
}

// hintOf says what a person can do for a node that does not reach its database; empty:
// nothing is known.
func hintOf(s agent.Status) string {
	if s.Database == nil {
		return ""
	}
	if e, ok := errors.AsType[*picloud.Error](s.Database.Err); ok {
		return e.Hint
	}
	return ""
}
