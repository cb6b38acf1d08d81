package gateway

import (
	"strings"

	"github.com/picloud/picloud"
)

// prefix is where functions are served: /fn/{app}/{function}/….
const prefix = "/fn/"

// Table holds the endpoint of each function. It is immutable once it is served;
// a deploy makes another one (copy-on-write).
type Table map[picloud.RouteKey]*Endpoint

// split finds the function that a path names, which is as it was sent. ok says that
// the path is below prefix, so that nobody else answers it. The names are compared as
// they were sent: they need no encoding, and so a rule in front of PiCloud cannot see
// another name, whether it decodes paths or not. rest is what follows, "" or from a
// slash on.
func split(escaped string) (key picloud.RouteKey, rest string, ok bool) {
	path, ok := strings.CutPrefix(escaped, prefix)
	if !ok {
		return key, "", false
	}
	app, path, _ := strings.Cut(path, "/")
	function := path
	if i := strings.IndexByte(path, '/'); i >= 0 {
		function, rest = path[:i], path[i:]
	}
	return picloud.RouteKey{App: app, Function: function}, rest, true
}
