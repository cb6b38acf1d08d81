package target

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/picloud/picloud"
)

// parseBase parses the URL of a server. A URL with more than a scheme, a host and a
// port is an error.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("is not like " + defaultServer)
	}
	return u, nil
}

// completeServer checks the URL of a server that a person wrote. HOST:PORT stands
// for http://HOST:PORT.
func completeServer(text string) (string, error) { return complete("server", text, adminPort) }

// complete is completeServer for what listens on a port by default.
func complete(what, text, port string) (string, error) {
	server := strings.TrimRight(text, "/")
	wrong := &picloud.Error{
		Code:   picloud.CodeInvalid,
		Detail: fmt.Sprintf("%s %q: is not like http://127.0.0.1:%s", what, picloud.Shorten(text, 200), port),
	}
	if strings.Contains(text, "@") {
		wrong.Detail = fmt.Sprintf("the %s is not like http://127.0.0.1:%s: it takes no user and no password", what, port)
	}
	if !strings.Contains(server, "://") {
		host, number, err := net.SplitHostPort(server)
		if err != nil && server != "" && !strings.ContainsAny(server, ":/@?# ") {
			wrong.Hint = "name the port too: " + server + ":" + port
		}
		if _, notANumber := strconv.ParseUint(number, 10, 16); err != nil || host == "" || notANumber != nil {
			return "", wrong
		}
		server = "http://" + server
	}
	if _, err := parseBase(server); err != nil {
		return "", wrong
	}
	return server, nil
}

// sameServer reports whether two URLs name the same control API. All names and
// addresses of the loopback interface count as one host.
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

// loopback reports whether host is this machine. A name counts only if no resolver can
// make it another machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
