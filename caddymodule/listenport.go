package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/datadir"
)

// listenPort is a port that the embedded configuration listens on.
type listenPort struct {
	setting setting
	number  int
	host    string // "": all addresses
}

// adminHost is where the control API listens: it is plain HTTP.
const adminHost = "127.0.0.1"

// ports returns the ports that the embedded configuration listens on.
func (s *settings) ports() ([]listenPort, error) {
	var out []listenPort
	for _, p := range []struct {
		name   string
		number int
		host   string
	}{
		{"http_port", s.HTTPPort, s.Bind},
		{"https_port", s.HTTPSPort, s.Bind},
		{"admin_port", s.AdminPort, adminHost},
	} {
		found, err := settingNamed(p.name)
		if err != nil {
			return nil, err
		}
		out = append(out, listenPort{found, p.number, p.host})
	}
	return out, nil
}

// checkPorts explains two settings that name the same port.
func (s *settings) checkPorts() error {
	all, err := s.ports()
	if err != nil {
		return err
	}
	taken := map[int]setting{}
	for _, p := range all {
		if other, twice := taken[p.number]; twice {
			return &picloud.Error{
				Code: picloud.CodeInvalid, Op: "read " + p.setting.Env(), Detail: fmt.Sprintf("port %d is the port of %s too", p.number, other.Env()),
				Hint: "give each of them a port of its own",
			}
		}
		taken[p.number] = p.setting
	}
	return nil
}

// maxAddresses bounds how many addresses of one site are looked at.
const maxAddresses = 64

// addresses returns the TCP addresses that the configuration listens on, as
// host:port; an empty host is every interface.
func (c config) addresses() ([]string, error) {
	var tree struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Listen []string `json:"listen"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(c.json, &tree); err != nil {
		return nil, err
	}
	repl := caddy.NewReplacer()
	var out []string
	for _, server := range tree.Apps.HTTP.Servers {
		for _, text := range server.Listen {
			address, err := caddy.ParseNetworkAddress(repl.ReplaceKnown(text, ""))
			if err != nil {
				return nil, fmt.Errorf("read address of a site: %w", err)
			}
			if address.Network != Network && !strings.HasPrefix(address.Network, "tcp") {
				continue
			}
			for offset := range min(address.PortRangeSize(), maxAddresses) {
				out = append(out, address.JoinHostPort(offset))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// probePorts finds out whether the ports are free before Caddy takes them:
// Caddy's listeners share ports between processes, so that a clash with a
// second node would be silent.
func (c config) probePorts() error {
	addresses, err := c.addresses()
	if err != nil {
		return err
	}
	for _, address := range addresses {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
		if err != nil {
			return c.explainPort(address, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// explainPort says why the node cannot listen on an address, and what to do.
func (c config) explainPort(address string, err error) error {
	hint := "change the address of the site in " + datadir.Shorten(c.path)
	if ports, listErr := c.home.ports(); listErr == nil && !c.sites {
		for _, p := range ports {
			if strings.HasSuffix(address, ":"+strconv.Itoa(p.number)) {
				hint = fmt.Sprintf("choose another with --%s or %s", p.setting.Flag(), p.setting.Env())
			}
		}
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		hint = "ports below 1024 need root or CAP_NET_BIND_SERVICE; or " + hint
	case errors.Is(err, syscall.EADDRNOTAVAIL) && !c.sites:
		hint = "this machine does not have the address; PICLOUD_BIND or --bind names one that it has"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine does not have the address; " + hint
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "listen on", Resource: address, Err: err, Hint: hint,
	}
}
