package picloud

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// DefaultCORSMaxAge is how long browsers keep a preflight's answer.
const DefaultCORSMaxAge = 10 * time.Minute

// CORS says which browser pages of other origins may call the function.
type CORS struct {
	// Origins are exact origins such as "https://example.org", or the single "*".
	Origins []string `json:"origins"`
	// Methods are allowed in preflights. Empty: all that the function takes at the path.
	// A method that it does not take there is never allowed.
	Methods []string `json:"methods,omitempty"`
	// Headers are request headers allowed in preflights. Empty, or "*": any.
	Headers []string `json:"headers,omitempty"`
	// Expose are response headers that the page may read.
	Expose []string `json:"expose,omitempty"`
	// Credentials lets the page send cookies. Not together with origin "*".
	Credentials bool `json:"credentials,omitempty"`
	// MaxAge is how long a browser may keep a preflight's answer. Default 10 min, at most 24 h.
	MaxAge Duration `json:"max_age,omitempty"`
}

func (c CORS) fields() []FieldError {
	out := checkMethods("cors.methods", c.Methods)
	bad := func(field, message string) { out = append(out, FieldError{"cors." + field, message}) }
	if len(c.Origins) == 0 {
		bad("origins", "must list at least one origin, or \"*\"")
	}
	if len(c.Origins) > 100 || len(c.Headers) > 100 || len(c.Expose) > 100 {
		bad("origins", "lists hold at most 100 entries")
	}
	star := slices.Contains(c.Origins, "*")
	if star && len(c.Origins) > 1 {
		bad("origins", "\"*\" stands alone")
	}
	if star && c.Credentials {
		bad("credentials", "needs exact origins; browsers refuse them with \"*\"")
	}
	for _, o := range c.Origins {
		if o != "*" && !validOrigin(o) {
			bad("origins", "must be like https://example.org, without a path, not "+Shorten(o, 80))
		}
	}
	for _, h := range slices.Concat(c.Headers, c.Expose) {
		if h != "*" && !validToken(h) {
			bad("headers", "must list header names, not "+Shorten(h, 80))
		}
	}
	if c.MaxAge < 0 || c.MaxAge > Duration(24*time.Hour) {
		bad("max_age", "must be between 0s and 24h")
	}
	return out
}

// validOrigin reports whether s is a serialized origin: scheme://host[:port].
func validOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		s == u.Scheme+"://"+u.Host
}

// validToken reports whether s is an RFC 9110 token, as header names are.
func validToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}
