package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/picloud/picloud"
)

// port is a port of the node, as the environment sets it.
type port struct {
	setting Setting
	number  string // what is set, or the default
	host    string // "": all addresses
}

func (p port) address() string { return net.JoinHostPort(p.host, p.number) }

// ports returns the ports that the embedded configuration listens on.
func ports() ([]port, error) {
	bind := os.Getenv("PICLOUD_BIND")
	out := make([]port, 0, 3)
	for _, p := range []struct{ name, fallback, host string }{
		{"http_port", "8080", bind},
		{"https_port", "8443", bind},
		{"admin_port", "8081", "127.0.0.1"},
	} {
		s, err := settingNamed(p.name)
		if err != nil {
			return nil, err
		}
		number := os.Getenv(s.Env)
		if number == "" {
			number = p.fallback
		}
		out = append(out, port{s, number, p.host})
	}
	return out, nil
}

// checkPorts explains a port setting that is none, and two that are the same,
// before Caddy's parser meets them.
func checkPorts() error {
	all, err := ports()
	if err != nil {
		return err
	}
	taken := map[uint64]Setting{}
	for _, p := range all {
		n, err := strconv.ParseUint(p.number, 10, 16)
		if err != nil || n == 0 {
			return &picloud.Error{
				Code: picloud.CodeInvalid, Op: "read " + p.setting.Env, Detail: fmt.Sprintf("%q is not a port", picloud.Shorten(p.number, 40)),
				Hint: "use a number between 1 and 65535",
			}
		}
		if other, twice := taken[n]; twice {
			return &picloud.Error{
				Code: picloud.CodeInvalid, Op: "read " + p.setting.Env, Detail: fmt.Sprintf("port %d is that of %s too", n, other.Env),
				Hint: "give each of them a port of its own",
			}
		}
		taken[n] = p.setting
	}
	return nil
}

// probePorts finds out whether the ports are free before Caddy takes them:
// Caddy's listeners share ports between processes, so that a clash with a
// second node would be silent.
func probePorts() error {
	all, err := ports()
	if err != nil {
		return err
	}
	for _, p := range all {
		l, err := net.Listen("tcp", p.address())
		if err != nil {
			return p.explain(err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// explain says why the node cannot listen there, and what to do.
func (p port) explain(err error) error {
	hint := fmt.Sprintf("choose another with --%s or %s", p.setting.Flag(), p.setting.Env)
	switch {
	case errors.Is(err, os.ErrPermission):
		hint = "ports below 1024 need root or CAP_NET_BIND_SERVICE; or " + hint
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine does not have the address; PICLOUD_BIND or --bind names one that it has"
	}
	return &picloud.Error{
		Code: picloud.CodeInvalid, Op: "listen on", Resource: p.address(), Err: err, Hint: hint,
	}
}
