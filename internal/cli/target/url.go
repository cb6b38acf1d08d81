package target

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// parseBase reads the URL of a server: scheme and host, nothing else.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, errors.New("is not like " + defaultServer)
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
