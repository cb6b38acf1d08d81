package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/picloud/picloud"
)

// listenPort is a port that the embedded configuration listens on.
type listenPort struct {
	setting setting
	number  int
	host    string // "": all addresses
}

func (p listenPort) address() string { return net.JoinHostPort(p.host, strconv.Itoa(p.number)) }

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

// probePorts finds out whether the ports are free before Caddy takes them:
// Caddy's listeners share ports between processes, so that a clash with a
// second node would be silent.
func (s *settings) probePorts() error {
	all, err := s.ports()
	if err != nil {
		return err
	}
	for _, p := range all {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", p.address())
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
func (p listenPort) explain(err error) error {
	hint := fmt.Sprintf("choose another with --%s or %s", p.setting.Flag(), p.setting.Env())
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
