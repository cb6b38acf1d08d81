package cli

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/picloud/picloud"
)

const (
	defaultServer = "http://127.0.0.1:8081"
	functionsPort = "8080"
)

// target is the node to speak to: where, and as whom.
type target struct {
	server    string // of the control API, without a trailing slash
	token     string
	tokenFrom string   // what the token was read from; empty: it was typed
	functions *url.URL // where functions are served
}

// target resolves the node: flags, then the environment, then the file of
// `picloud login`, then the files of nodes on this machine. A token from a file
// is only ever sent to the server that the same file names.
func (c *cli) target() (target, error) {
	server := strings.TrimRight(firstOf(c.server, c.Getenv("PICLOUD_SERVER")), "/")
	token, from := c.Getenv("PICLOUD_TOKEN"), "PICLOUD_TOKEN"
	if c.tokenFile != "" {
		var err error
		if token, err = c.readToken(c.tokenFile); err != nil {
			return target{}, err
		}
		from = streamName(c.tokenFile)
	}
	functions := firstOf(c.functions, c.Getenv("PICLOUD_FUNCTIONS_URL"))

	var places []place
	if token == "" || server == "" || functions == "" {
		places = c.places()
	}
	for _, p := range places {
		if p.err != nil || server != "" && !sameServer(server, p.Server) {
			continue
		}
		if server == "" {
			server = strings.TrimRight(firstOf(p.Server, defaultServer), "/")
		}
		if token == "" {
			token, from = p.Token, p.path
			if p.open {
				c.warnOpen(p.path)
			}
		}
		functions = firstOf(functions, p.Functions)
		break
	}
	if token == "" {
		return target{}, noToken(server, places)
	}
	server = firstOf(server, defaultServer)
	t, err := c.newTarget(server, token, functions)
	t.tokenFrom = from
	return t, err
}

// newTarget checks the URLs, and warns when the token would travel in the open.
func (c *cli) newTarget(server, token, functions string) (target, error) {
	u, err := parseBase(server)
	if err != nil {
		return target{}, fmt.Errorf("server %q: %w", picloud.Shorten(server, 200), err)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		c.warnf("the token travels unencrypted to %s; use https, or an SSH tunnel", u.Host)
	}
	t := target{server: server, token: token}
	if functions == "" {
		t.functions = c.guessFunctions(u)
		return t, nil
	}
	if t.functions, err = parseBase(functions); err != nil {
		return target{}, fmt.Errorf("functions URL %q: %w", picloud.Shorten(functions, 200), err)
	}
	return t, nil
}

// guessFunctions returns where the node serves functions if nothing says so:
// on the default port, or for a node on this machine on the one of its setting.
func (c *cli) guessFunctions(server *url.URL) *url.URL {
	host, port := server.Hostname(), functionsPort
	if loopback(host) {
		host = "localhost" // friendlier to read and to click
		port = firstOf(c.Getenv("PICLOUD_HTTP_PORT"), port)
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

// parseBase reads the URL of a server: scheme and host, nothing else.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("is not like http://127.0.0.1:8081")
	}
	return u, nil
}

// sameServer reports whether two URLs name the same control API. The names of
// the loopback interface are one.
func sameServer(a, b string) bool {
	ua, errA := parseBase(a)
	ub, errB := parseBase(b)
	if errA != nil || errB != nil || ua.Scheme != ub.Scheme || port(ua) != port(ub) {
		return false
	}
	return strings.EqualFold(ua.Hostname(), ub.Hostname()) || loopback(ua.Hostname()) && loopback(ub.Hostname())
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// loopback reports whether host is this machine. Only names that cannot be
// pointed elsewhere count.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
