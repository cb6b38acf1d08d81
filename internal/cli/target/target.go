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
	"github.com/picloud/picloud/internal/credentials"
	"github.com/picloud/picloud/internal/datadir"
)

// Where a node with default settings listens.
var (
	adminPort     = strconv.Itoa(picloud.DefaultAdminPort)
	defaultServer = "http://127.0.0.1:" + adminPort
	functionsPort = strconv.Itoa(picloud.DefaultHTTPPort)
)

// Target is the node to speak to: where, and as whom.
type Target struct {
	Server    string // of the control API, without a trailing slash
	Token     string
	TokenFrom string   // what the token was read from; empty: it was typed
	Context   string   // of the logins that the token was read from; empty: none
	User      string   // whose token it is, as its file says; empty: no file says it
	Functions *url.URL // where functions are served
	Guessed   bool     // nobody said where: Functions is a guess
}

// ServedAt returns where functions are served, when the server said that it serves them at a URL
// as seen from its own machine. What somebody named comes first.
func (t Target) ServedAt(said string) *url.URL {
	u, err := parseBase(said)
	server, problem := parseBase(t.Server)
	if !t.Guessed || err != nil || problem != nil || u.Port() == "" {
		return t.Functions
	}
	if loopback(u.Hostname()) && !loopback(server.Hostname()) {
		u.Host = net.JoinHostPort(server.Hostname(), u.Port())
	}
	return u
}

// Local reports whether the server is on this machine.
func (t Target) Local() bool {
	u, err := parseBase(t.Server)
	return err == nil && loopback(u.Hostname())
}

// Finder finds the target. The environment, the logins and the files of nodes fill
// what no flag says.
type Finder struct {
	Server    string // --server
	Functions string // --functions-url
	TokenFile string // --token-file
	Context   string // --context

	Getenv func(string) string
	Stdin  io.Reader // for a token file named -
	Warnf  func(text string, args ...any)

	// Service is the data folder of a node that runs as root on this machine.
	Service string

	owners datadir.Owners // those of data folders that nobody names; nil: datadir.Believed
}

// Find resolves the node. What is more explicit counts first: flags; then
// PICLOUD_SERVER and PICLOUD_TOKEN, PICLOUD_CONTEXT, PICLOUD_DATA; then the login;
// then the files of nodes on this machine. A token from a file is only ever sent to
// the server that the same file names, unless --token-file and --server name both.
func (f *Finder) Find() (Target, error) {
	server, err := f.server()
	if err != nil {
		return Target{}, err
	}
	known, from, err := f.explicit()
	if err != nil {
		return Target{}, err
	}
	if c := known.context; c != "" && server != "" && !sameServer(server, known.Server) {
		return Target{}, fmt.Errorf("context %s is for %s, and not for %s", c, known.Server, server)
	}
	server = FirstOf(server, known.Server)
	functions := FirstOf(f.FunctionsURL(), known.Functions)

	var places []place
	if known.Token == "" || server == "" || functions == "" {
		places = f.places()
	}
	for i, p := range places {
		if p.err != nil || server != "" && !sameServer(server, p.Server) {
			continue
		}
		server = FirstOf(server, strings.TrimRight(p.Server, "/"), defaultServer)
		if known.Token == "" {
			known, from = p, p.name()
			if p.open {
				f.warnOpen(p.path)
			}
			f.warnPassedOver(places[:i], p)
		}
		functions = FirstOf(functions, p.Functions)
		break
	}
	if known.Token == "" {
		return Target{}, noToken(server, places)
	}
	t, err := f.New(FirstOf(server, defaultServer), known.Token, functions)
	t.TokenFrom, t.Context, t.User = from, known.context, known.User
	return t, err
}

// explicit returns the token that a flag or the environment names, and the server that
// comes with it.
func (f *Finder) explicit() (known place, from string, err error) {
	switch token := f.Getenv("PICLOUD_TOKEN"); {
	case f.TokenFile != "":
		file, err := f.readTokenFile(f.TokenFile)
		return place{File: file.File}, failure.StreamName(f.TokenFile), err
	case f.Context != "":
		known, err = f.context(f.Context, "--context")
	case token != "":
		known.Token = token
		return known, "PICLOUD_TOKEN", nil
	case f.Getenv("PICLOUD_CONTEXT") != "":
		known, err = f.context(f.Getenv("PICLOUD_CONTEXT"), "PICLOUD_CONTEXT")
	}
	return known, known.name(), err
}

// context is the context that a flag or variable names.
func (f *Finder) context(name, namedBy string) (place, error) {
	logins, open, err := f.Logins()
	if err != nil {
		return place{}, fmt.Errorf("read contexts of %s: %w", f.ConfigPath(), err)
	}
	c := logins.Find(name)
	if c == nil {
		return place{}, NoContext(logins, name, "which "+namedBy+" names")
	}
	if open {
		f.warnOpen(f.ConfigPath())
	}
	return place{path: f.ConfigPath(), context: name, File: c.File}, nil
}

// NoContext returns the error of a context that does not exist. It lists those that do.
func NoContext(logins Logins, name, why string) error {
	e := &picloud.Error{Code: picloud.CodeNotFound, Detail: "there is no context " + picloud.Shorten(name, 80), Hint: "picloud login saves one"}
	if why != "" {
		e.Detail += ", " + why
	}
	if names := logins.Names(); len(names) > 0 {
		e.Hint = "there are: " + strings.Join(names, ", ")
	}
	return e
}

// warnPassedOver warns when the command uses the credentials of another place than the
// user may expect: PICLOUD_DATA names a folder without any, or those of a data folder
// belong to a stranger.
func (f *Finder) warnPassedOver(before []place, used place) {
	dir := f.Getenv("PICLOUD_DATA")
	for _, p := range before {
		foreign := (*datadir.Foreign)(nil)
		switch {
		case p.err == nil || p.context != "":
		case dir != "" && p.path == credentials.Path(dir):
			f.Warnf("PICLOUD_DATA is set, but %s: %s; using %s", p.path, p.reason(), used.name())
		case errors.As(p.err, &foreign):
			f.Warnf("%s is not used: %s; using %s", p.path, p.reason(), used.name())
		}
	}
}

// New checks the URLs, and warns when the token would travel in the open.
func (f *Finder) New(server, token, functions string) (Target, error) {
	server, err := completeServer(server)
	if err != nil {
		return Target{}, err
	}
	u, err := parseBase(server)
	if err != nil {
		return Target{}, err
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		f.Warnf("the token travels unencrypted to %s; use https, or an SSH tunnel", u.Host)
	}
	t := Target{Server: server, Token: token}
	if functions == "" {
		t.Functions, t.Guessed = f.guessFunctions(u), true
		return t, nil
	}
	if functions, err = complete("functions URL", functions, functionsPort); err != nil {
		return Target{}, err
	}
	t.Functions, err = parseBase(functions)
	return t, err
}

// guessFunctions returns the URL of the functions when no flag and no file names it: the
// default port of the server or, for a node on this machine, the port in
// PICLOUD_HTTP_PORT.
func (f *Finder) guessFunctions(server *url.URL) *url.URL {
	host, port := server.Hostname(), functionsPort
	if loopback(host) {
		host = "localhost" // friendlier to read and to click
		port = FirstOf(f.Getenv("PICLOUD_HTTP_PORT"), port)
	}
	return &url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}
}

// noToken returns the error of a command that found no token. It lists the places.
func noToken(server string, places []place) error {
	var b strings.Builder
	for _, p := range places {
		why := "is for " + p.Server
		if p.err != nil {
			why = p.reason()
		}
		fmt.Fprintf(&b, "\n    %s: %s", p.name(), why)
	}
	e := &picloud.Error{Code: picloud.CodeUnauthenticated, Op: "find a token"}
	login := "picloud login"
	if server != "" {
		e.Resource, login = "for "+server, "picloud login --server "+server
	}
	e.Detail = "none in PICLOUD_TOKEN, and none in" + b.String()
	e.Hint = "sign in with: " + login + "; or start a node on this machine with: " + failure.StartNode() +
		"; whoever owns the node's machine makes a token with: picloud user token admin --local"
	return e
}

// serverIsNamed reports whether a flag or the environment names a server.
func (f *Finder) serverIsNamed() bool { return f.Server != "" || f.Getenv("PICLOUD_SERVER") != "" }

// server is the one that a flag or the environment names. A context that a flag
// names comes before the environment.
func (f *Finder) server() (string, error) {
	server := f.Server
	if server == "" && f.Context == "" {
		server = f.Getenv("PICLOUD_SERVER")
	}
	if server == "" {
		return "", nil
	}
	return completeServer(server)
}

// ServerOrDefault is the server of a flag, that of the context which a flag names, that
// of the environment, or this machine's.
func (f *Finder) ServerOrDefault() (string, error) {
	server := f.Server
	if logins, _, err := f.Logins(); server == "" && f.Context != "" && err == nil {
		if c := logins.Find(f.Context); c != nil {
			server = c.Server
		}
	}
	return completeServer(FirstOf(server, f.Getenv("PICLOUD_SERVER"), defaultServer))
}

// FunctionsURL is the URL of the functions that a flag or the environment names.
func (f *Finder) FunctionsURL() string {
	return FirstOf(f.Functions, f.Getenv("PICLOUD_FUNCTIONS_URL"))
}

// FunctionsBase returns the URL of the functions. It works without a token, because
// calls of functions need none.
func (f *Finder) FunctionsBase() (*url.URL, error) {
	t, err := f.Find()
	if !errors.Is(err, picloud.ErrUnauthenticated) {
		return t.Functions, err
	}
	server, err := f.ServerOrDefault()
	if err != nil {
		return nil, err
	}
	t, err = f.New(server, "", f.FunctionsURL())
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
