package target

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/cli/failure"
)

// Where a node with default settings listens.
var (
	defaultServer = "http://127.0.0.1:" + strconv.Itoa(picloud.DefaultAdminPort)
	functionsPort = strconv.Itoa(picloud.DefaultHTTPPort)
)

// Target is the node to speak to: where, and as whom.
type Target struct {
	Server    string // of the control API, without a trailing slash
	Token     string
	TokenFrom string   // what the token was read from; empty: it was typed
	Functions *url.URL // where functions are served
}

// Finder finds the target. The environment and the files of nodes fill what no
// flag says.
type Finder struct {
	Server    string // --server
	Functions string // --functions-url
	TokenFile string // --token-file

	Getenv func(string) string
	Stdin  io.Reader // for a token file named -
	Warnf  func(text string, args ...any)

	// Service is the data folder of a node that runs as root on this machine.
	Service string
}

// Find resolves the node: flags, then the environment, then the file of
// `picloud login`, then the files of nodes on this machine. A token from a file
// is only ever sent to the server that the same file names.
func (f *Finder) Find() (Target, error) {
	server := f.server()
	token, from := f.Getenv("PICLOUD_TOKEN"), "PICLOUD_TOKEN"
	if f.TokenFile != "" {
		var err error
		if token, err = f.ReadToken(f.TokenFile); err != nil {
			return Target{}, err
		}
		from = failure.StreamName(f.TokenFile)
	}
	functions := f.FunctionsURL()

	var places []place
	if token == "" || server == "" || functions == "" {
		places = f.places()
	}
	for _, p := range places {
		if p.err != nil || server != "" && !sameServer(server, p.Server) {
			continue
		}
		if server == "" {
			server = strings.TrimRight(FirstOf(p.Server, defaultServer), "/")
		}
		if token == "" {
			token, from = p.Token, p.path
			if p.open {
				f.warnOpen(p.path)
			}
		}
		functions = FirstOf(functions, p.Functions)
		break
	}
	if token == "" {
		return Target{}, noToken(server, places)
	}
	server = FirstOf(server, defaultServer)
	t, err := f.New(server, token, functions)
	t.TokenFrom = from
	return t, err
}

// New checks the URLs, and warns when the token would travel in the open.
func (f *Finder) New(server, token, functions string) (Target, error) {
	u, err := parseBase(server)
	if err != nil {
		return Target{}, fmt.Errorf("server %q: %w", picloud.Shorten(server, 200), err)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		f.Warnf("the token travels unencrypted to %s; use https, or an SSH tunnel", u.Host)
	}
	t := Target{Server: server, Token: token}
	if functions == "" {
		t.Functions = f.guessFunctions(u)
		return t, nil
	}
	if t.Functions, err = parseBase(functions); err != nil {
		return Target{}, fmt.Errorf("functions URL %q: %w", picloud.Shorten(functions, 200), err)
	}
	return t, nil
}

// guessFunctions returns where the node serves functions if nothing says so:
// on the default port, or for a node on this machine on the one of its setting.
func (f *Finder) guessFunctions(server *url.URL) *url.URL {
	host, port := server.Hostname(), functionsPort
	if loopback(host) {
		host = "localhost" // friendlier to read and to click
		port = FirstOf(f.Getenv("PICLOUD_HTTP_PORT"), port)
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
}

// noToken says where a token was looked for.
func noToken(server string, places []place) error {
	var b strings.Builder
	for _, p := range places {
		why := "is for " + p.Server
		if p.err != nil {
			why = p.reason()
		}
		fmt.Fprintf(&b, "\n    %s: %s", p.path, why)
	}
	e := &picloud.Error{Code: picloud.CodeUnauthenticated, Op: "find a token"}
	login := "picloud login"
	if server != "" {
		e.Resource, login = "for "+server, "picloud login --server "+server
	}
	e.Detail = "none in PICLOUD_TOKEN, and none in" + b.String()
	e.Hint = "sign in with: " + login + "; or start a node on this machine with: picloud run"
	return e
}

// server is the one that a flag or the environment names.
func (f *Finder) server() string {
	return strings.TrimRight(FirstOf(f.Server, f.Getenv("PICLOUD_SERVER")), "/")
}

// ServerOrDefault is the server of a flag, of the environment, or of this machine.
func (f *Finder) ServerOrDefault() string { return FirstOf(f.server(), defaultServer) }

// FunctionsURL is where a flag or the environment says that functions are served.
func (f *Finder) FunctionsURL() string {
	return FirstOf(f.Functions, f.Getenv("PICLOUD_FUNCTIONS_URL"))
}

// FunctionsBase returns where functions are served. It needs no token, as
// functions do not.
func (f *Finder) FunctionsBase() (*url.URL, error) {
	t, err := f.Find()
	if errors.Is(err, picloud.ErrUnauthenticated) {
		t, err = f.New(f.ServerOrDefault(), "", f.FunctionsURL())
	}
	return t.Functions, err
}

// FirstOf returns the first text that is not empty.
func FirstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
