package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/picloud/picloud/internal/urlpath"
)

// Caller is what the proxy knows of a request beside the request.
type Caller struct {
	// IP is the address that the request came from.
	IP string
	// Sent is the URL as the client sent it, before rules of the proxy changed it; nil:
	// they did not.
	Sent *url.URL
	// Prefix is what a trusted proxy further out took away from the front of the path
	// (X-Forwarded-Prefix).
	Prefix string
}

// place is where below a function a request goes.
type place struct {
	path    string // decoded, from a slash on
	raw     string // as it was sent, from a slash on
	rawPath string // raw where it differs from path, else ""
	base    string // what stands before raw in the client's URL
	bare    bool   // the client's URL ends with the function's name
	ours    bool   // a link to base and raw comes back here
}

// locate finds the place. rest is what follows the function in the path, as it was sent.
func (c *Caller) locate(r *http.Request, escaped, rest string) place {
	own := escaped[:len(escaped)-len(rest)]
	p := place{base: own, raw: rest, path: r.URL.Path[len(own):], ours: true} // names are the same decoded
	if c.Sent != nil && (c.Sent.Path != r.URL.Path || c.Sent.RawPath != r.URL.RawPath) {
		base, raw, ok := behind(c.Sent.EscapedPath(), p.path)
		if p.ours = ok && rest != ""; p.ours {
			p.raw = raw
		}
		if ok {
			p.base = base
		}
	}
	if c.Prefix != "" && clean(strings.TrimSuffix(c.Prefix, "/")) {
		p.base = strings.TrimSuffix(c.Prefix, "/") + p.base
	}
	if rest == "" {
		p.path, p.raw, p.bare = "/", "/", p.ours
	}
	if p.base == "" && (elsewhere(p.path) || elsewhere(p.raw)) {
		p.base, p.ours, p.bare = own, false, false
	}
	if p.raw != p.path {
		p.rawPath = p.raw
	}
	return p
}

// behind takes what the function gets as its path off the end of the path that the
// client sent, and returns what stands before it, without a slash at the end, and what
// was sent for it. A rule of the proxy can have decoded it in between.
func behind(sent, path string) (base, raw string, ok bool) {
	at := len(sent)
	if skip := decodedLength(sent) - len(path); skip < 0 {
		return "", "", false
	} else if path != "" {
		at = 0
		for ; skip > 0; skip-- {
			at += width(sent[at])
		}
	}
	decoded, err := url.PathUnescape(sent[at:])
	base = sent[:at]
	if path == "" {
		base = strings.TrimSuffix(base, "/")
	}
	if err != nil || decoded != path || urlpath.Check(sent) != nil || !clean(base) {
		return "", "", false
	}
	return base, sent[at:], true
}

// decodedLength is the length that a path has when it is decoded.
func decodedLength(escaped string) int { return len(escaped) - 2*strings.Count(escaped, "%") }

// width is how many bytes stand for one when a path is decoded.
func width(first byte) int {
	if first == '%' {
		return 3
	}
	return 1
}

// elsewhere reports whether a client reads a path as a link to another host: browsers
// take a backslash for a slash, and two of them for the beginning of a host.
func elsewhere(path string) bool {
	return len(path) > 1 && isSlash(path[0]) && isSlash(path[1])
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// clean reports whether a path can stand at the beginning of a link and in a cookie: it
// leads to no other host, as "//example.org" does, and means what it says.
func clean(base string) bool {
	if base == "" {
		return true
	}
	if base[0] != '/' || base[len(base)-1] == '/' || strings.Contains(base, "//") || urlpath.Check(base) != nil {
		return false
	}
	for i := range len(base) {
		c := base[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && !strings.ContainsRune("/-._~%!$&()*+=:@", rune(c)) {
			return false
		}
	}
	return true
}

// wantsPage reports whether the client is a browser on the way to a page, whose
// relative links will be read against the address.
func wantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, line := range r.Header["Accept"] {
		if strings.Contains(line, "text/html") {
			return true
		}
	}
	return false
}

// redirect sends the client to the same path with a slash at its end, where relative
// links lead below it.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	h := w.Header()
	h.Set("Location", to)
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusPermanentRedirect)
}
