// Package urlpath holds the one reading of a request's path that all of PiCloud has.
//
// A path is worked on as it was sent, percent-encoded. It is split at "/" first, and
// each part is decoded once, afterwards. So "%2F" is a letter of a name and never a
// separator. Proxies read paths in ways of their own: some decode first, some remove
// dot segments, some do neither. A path that such readers would take for two different
// places is refused, so that a rule in front of PiCloud cannot be walked past.
package urlpath

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// HasDots reports whether the path has a dot segment: "." or "..", encoded or not,
// between separators of which any may be encoded or a backslash.
func HasDots(escaped string) bool {
	if !suspect(escaped) {
		return false
	}
	decoded, err := url.PathUnescape(escaped)
	return err == nil && dots(decoded)
}

// Check refuses a path that could be read in two ways. It takes the path as it was
// sent, as url.URL.EscapedPath returns it.
func Check(escaped string) error {
	if !suspect(escaped) {
		return nil
	}
	decoded, err := url.PathUnescape(escaped)
	switch {
	case err != nil:
		return refuse(escaped, "it has a percent sign that no two hexadecimal digits follow", utf8Hint)
	case dots(decoded):
		return refuse(escaped, "it has a dot segment, plain or encoded",
			`leave out "." and ".."; clients do so unless they are told not to (curl --path-as-is)`)
	case strings.ContainsFunc(decoded, control):
		return refuse(escaped, "it has an encoded control character", utf8Hint)
	case !utf8.ValidString(decoded):
		return refuse(escaped, "it is not UTF-8 when it is decoded", utf8Hint)
	}
	return nil
}

// suspect spares the usual path all further work: without a percent sign it is
// ASCII, and dot segments of it stand behind a slash.
func suspect(escaped string) bool {
	return strings.IndexByte(escaped, '%') >= 0 || strings.Contains(escaped, "/.") || strings.HasPrefix(escaped, ".")
}

func dots(decoded string) bool {
	for i := 0; i <= len(decoded); {
		end := strings.IndexAny(decoded[i:], `/\`)
		if end < 0 {
			end = len(decoded) - i
		}
		if s := decoded[i : i+end]; s == "." || s == ".." {
			return true
		}
		i += end + 1
	}
	return false
}

func control(c rune) bool { return c < ' ' || c == 0x7f }

const utf8Hint = "write names in UTF-8 and percent-encode them once; control characters belong into the query or the body"

func refuse(escaped, why, hint string) error {
	return &picloud.Error{Code: picloud.CodePath, Op: "read path", Resource: picloud.Shorten(escaped, 200), Detail: why, Hint: hint}
}
