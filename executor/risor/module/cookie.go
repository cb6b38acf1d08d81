package module

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/executor/risor/data"
)

// maxCookie is what browsers keep of one cookie, name and value, in bytes (RFC 6265, 6.1).
const maxCookie = 4096

// sessionCookie is the dashboard's, which no function can set.
const sessionCookie = "picloud_session"

// cookieTime is the form of Expires (RFC 9110, 5.6.7).
const cookieTime = "Mon, 02 Jan 2006 15:04:05 GMT"

func cookieFunction() Function {
	return Function{
		Name: "cookie", Args: []Arg{{Name: "name", Type: "string"}, {Name: "value", Type: "string"}, {Name: "options", Type: "map", Optional: true}}, Returns: "string",
		Doc: "The value of a `set-cookie` header. Without options the cookie lasts until the browser ends, comes back only to this function (`path` is `req.base`), is hidden from scripts in the page (`http_only`), " +
			"and does not come along when another site sends a form (`same_site` is `\"lax\"`). Options: `path` (`\"/\"`: every function of the host), `domain`, `max_age` (a duration; 0 deletes the cookie, when name and path are those it was set with), `expires` (a time), `http_only` (default true), " +
			"`secure` (only over HTTPS; default false, and true for `same_site: \"none\"` and for names with `__Secure-` or `__Host-`), `same_site` (`\"strict\"`, `\"lax\"` or `\"none\"`). The value is ASCII without blanks, quotes, commas, semicolons and backslashes: put other text through `url.escape`, and `url.unescape` when it comes back.",
		Errors: []Fault{{"cookie_invalid", "the name, the value or an option cannot be in a cookie, or name and value have more than 4,096 bytes"}},
		Example: example(`http.cookie("session", "8f3a", {max_age: "7d"})           // → "session=8f3a; Path=/fn/default/hello; Max-Age=604800; HttpOnly; SameSite=Lax"`,
			`http.cookie("theme", "dark", {path: "/", http_only: false})   // → "theme=dark; Path=/; SameSite=Lax"`,
			`http.cookie("session", "", {max_age: 0})                  // → "session=; Path=/fn/default/hello; Max-Age=0; HttpOnly; SameSite=Lax"`,
			`http.cookie("note", "a; b")                               // → error cookie_invalid`,
			`http.cookie("note", url.escape("a; b"), {path: "/"})      // → "note=a%3B%20b; Path=/; HttpOnly; SameSite=Lax"`),
		call: makeCookie,
	}
}

func makeCookie(a *arguments) (object.Object, error) {
	name, value := a.text(0), a.text(1)
	o := a.options(2, "path", "domain", "max_age", "expires", "http_only", "secure", "same_site")
	// The prefixes of a name are promises that browsers check.
	locked := strings.HasPrefix(name, "__Host-")
	path := o.text("path", "")
	if path == "" && !locked && AccessOf(a.ctx).Request != nil {
		path = string(AccessOf(a.ctx).Request.Base)
	}
	if path == "" {
		path = "/"
	}
	domain := o.text("domain", "")
	if len(domain) > 1 {
		domain = strings.TrimPrefix(domain, ".")
	}
	site := strings.ToLower(o.text("same_site", "lax"))
	needsSecure := site == "none" || locked || strings.HasPrefix(name, "__Secure-")
	secure, httpOnly := o.bool("secure", needsSecure), o.bool("http_only", true)
	age, aged := o.seconds("max_age")
	expires, ends := o.moment("expires")
	if a.fault != nil {
		return nil, a.fault
	}
	switch {
	case name == "" || strings.ContainsFunc(name, func(c rune) bool { return !isTokenChar(c) }):
		return nil, badCookie("the name %q holds something else than letters, digits and the signs that a name can have", data.Shorten(name, 80))
	case name == sessionCookie:
		return nil, badCookie("the name %s is the dashboard's", sessionCookie)
	case strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("\",;\\", c) }):
		return nil, badCookie("the value of %s holds a blank, a quote, a comma, a semicolon, a backslash or a character that is not ASCII; url.escape makes text safe", name)
	case len(name)+len(value) > maxCookie:
		return nil, badCookie("%s has more than %d bytes of name and value", name, maxCookie)
	case !strings.HasPrefix(path, "/") || !isAttribute(path):
		return nil, badCookie("path begins with a slash and holds no semicolon and no control character")
	case domain != "" && (strings.Contains("."+domain+".", "..") || strings.ContainsFunc(domain, func(c rune) bool { return !isDomainChar(c) })):
		return nil, badCookie("domain %q is not the name of a host", data.Shorten(domain, 80))
	case site != "lax" && site != "strict" && site != "none":
		return nil, badCookie(`same_site is "strict", "lax" or "none"`)
	case needsSecure && !secure:
		return nil, badCookie(`browsers refuse a cookie with same_site "none", or with the name %s, that is not secure`, data.Shorten(name, 80))
	case locked && (path != "/" || domain != ""):
		return nil, badCookie("a cookie whose name begins with __Host- has the path / and no domain")
	}
	var b strings.Builder
	b.WriteString(name + "=" + value + "; Path=" + path)
	if domain != "" {
		b.WriteString("; Domain=" + domain)
	}
	if aged {
		b.WriteString("; Max-Age=" + strconv.FormatInt(age, 10))
	}
	if ends {
		b.WriteString("; Expires=" + expires.UTC().Format(cookieTime))
	}
	if httpOnly {
		b.WriteString("; HttpOnly")
	}
	if secure {
		b.WriteString("; Secure")
	}
	b.WriteString("; SameSite=" + strings.ToUpper(site[:1]) + site[1:])
	return object.NewString(b.String()), nil
}

func badCookie(format string, args ...any) error {
	return hostcall.Errorf("cookie_invalid", "http.cookie: %s", fmt.Sprintf(format, args...))
}

// isTokenChar reports whether a name may hold c (RFC 9110, 5.6.2).
func isTokenChar(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c < 0x7f && strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

func isDomainChar(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '.'
}

// isAttribute reports whether text can be the value of an attribute: nothing in it
// ends the attribute or the line.
func isAttribute(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == ';' {
			return false
		}
	}
	return true
}

// bool reads true or false.
func (o options) bool(name string, fallback bool) bool {
	v, ok := o.get(name)
	if !ok {
		return fallback
	}
	b, ok := v.(*object.Bool)
	if !ok {
		o.wrong(name, "true or false")
		return fallback
	}
	return b.Value()
}

// seconds reads a duration of whole seconds, zero at least.
func (o options) seconds(name string) (n int64, given bool) {
	v, ok := o.get(name)
	if !ok {
		return 0, false
	}
	d, ok := durationOf(v)
	if !ok || d < 0 {
		o.wrong(name, durationForm+", or 0")
	}
	return int64((d + time.Second - 1) / time.Second), true // never down to 0, which would delete the cookie
}

// moment reads a time.
func (o options) moment(name string) (at time.Time, given bool) {
	v, ok := o.get(name)
	if !ok {
		return at, false
	}
	m, ok := v.(*moment)
	if !ok || m.t.Year() < 1601 || m.t.Year() > 9999 { // RFC 6265, 5.1.1
		o.wrong(name, "a time, such as time.now().add(\"7d\")")
		return at, false
	}
	return m.t, true
}
