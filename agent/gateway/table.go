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

// split finds the function that a path names. ok says that the path is below
// prefix, so that nobody else answers it; rest is the path as the function sees
// it, "/" at least.
func split(path string) (key picloud.RouteKey, rest string, ok bool) {
	path, ok = strings.CutPrefix(path, prefix)
	if !ok {
		return key, "", false
	}
	app, path, _ := strings.Cut(path, "/")
	function, rest := path, "/"
	if i := strings.IndexByte(path, '/'); i >= 0 {
		function, rest = path[:i], path[i:]
	}
	return picloud.RouteKey{App: app, Function: function}, rest, true
}
