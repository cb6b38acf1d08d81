package egress

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/picloud/picloud"
)

// maxURL bounds URLs, in bytes.
const maxURL = 16 << 10

// target is where one request goes.
type target struct {
	url  *url.URL   // with host and port as below
	host string     // a name in ASCII and lower case, or an address
	addr netip.Addr // of the host that is an address; else invalid
	port uint16
}

var hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

// parseTarget reads an absolute URL, or one that is relative to base. It brings the
// host into one canonical form. Rules, DNS query and dialling all use that form, so
// that all checks see the same host.
func parseTarget(text string, base *url.URL) (*target, *Error) {
	bad := func(why string) (*target, *Error) {
		return nil, failed(CodeInvalid, "%q %s", picloud.Shorten(text, 200), why)
	}
	if len(text) > maxURL {
		return bad("is too long for a URL")
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("is not a URL")
	}
	if base != nil {
		u = base.ResolveReference(u)
	}
	u.Scheme = strings.ToLower(u.Scheme)
	t := &target{url: u}
	switch u.Scheme {
	case "http":
		t.port = 80
	case "https":
		t.port = 443
	default:
		return bad("is not a URL that starts with http:// or https://")
	}
	if u.Opaque != "" || u.Host == "" {
		return bad("has no host")
	}
	if u.User != nil {
		return bad("has a user name or password; send them in an Authorization header")
	}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return bad("has no valid port")
		}
		t.port = uint16(port)
	}
	if !t.setHost(u.Hostname()) {
		return bad("has no valid host; an IPv4 address is written with four decimal numbers")
	}
	u.Host = t.host
	if t.addr.Is6() {
		u.Host = "[" + t.host + "]"
	}
	if t.port != defaultPort(u.Scheme) {
		u.Host = net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
	}
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = escapeQuery(u.RawQuery)
	if u.Path == "" {
		u.Path = "/"
	}
	return t, nil
}

// escapeQuery escapes what cannot stand in a request's first line, as browsers
// do; net/http sends a query as it is.
func escapeQuery(query string) string {
	bad := func(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '#' }
	var b strings.Builder
	for i := range len(query) {
		if bad(query[i]) {
			fmt.Fprintf(&b, "%%%02X", query[i])
			continue
		}
		b.WriteByte(query[i])
	}
	return b.String()
}

func defaultPort(scheme string) uint16 {
	if scheme == "https" {
		return 443
	}
	return 80
}

// setHost accepts a name or an address in its usual form. It refuses zones, and the
// unusual spellings that some resolvers read as addresses.
func (t *target) setHost(host string) bool {
	for i := range len(host) {
		if host[i] < 0x80 {
			continue
		}
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return false
		}
		host = ascii // the conversion can produce any text; the checks below see it
		break
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return false
		}
		t.addr = addr.Unmap()
		t.host = t.addr.String()
		return true
	}
	if len(host) > 253 || !hostName.MatchString(host) || numeric(host) {
		return false
	}
	t.host = host
	return true
}

// numeric reports whether the last part of a name is a decimal or hexadecimal
// number. Resolvers may read such names as addresses.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	digits, hex := strings.CutPrefix(last, "0x")
	return hex && strings.Trim(digits, "0123456789abcdef") == ""
}

// sameOrigin reports whether next may get the credentials that were meant for t: it
// has the same host, port and scheme, or is the same host over HTTPS.
func (t *target) sameOrigin(next *target) bool {
	if t.host != next.host {
		return false
	}
	return t.url.Scheme == next.url.Scheme && t.port == next.port ||
		t.url.Scheme == "http" && t.port == 80 && next.url.Scheme == "https" && next.port == 443
}
