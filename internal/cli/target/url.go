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
func completeServer(text string) (string, error) {
	server := strings.TrimRight(text, "/")
	if !strings.Contains(server, "://") {
		host, number, err := net.SplitHostPort(server)
		if _, notANumber := strconv.ParseUint(number, 10, 16); err != nil || host == "" || notANumber != nil {
			e := &picloud.Error{Code: picloud.CodeInvalid, Detail: fmt.Sprintf("server %q: is not like %s", picloud.Shorten(text, 200), defaultServer)}
			if err != nil && server != "" && !strings.ContainsAny(server, ":/@?# ") {
				e.Hint = "name the port too: " + server + ":" + adminPort
			}
			return "", e
		}
		server = "http://" + server
	}
	if _, err := parseBase(server); err != nil {
		return "", &picloud.Error{Code: picloud.CodeInvalid, Detail: fmt.Sprintf("server %q: %v", picloud.Shorten(text, 200), err)}
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
