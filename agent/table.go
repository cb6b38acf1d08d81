package agent

import (
	"strings"

	"github.com/picloud/picloud"
)

// FunctionPrefix is where functions are served: /fn/{app}/{function}/….
const FunctionPrefix = "/fn/"

// table is one immutable state of the routes. A deploy builds a new one and
// swaps it in; calls that began on the old one end on it.
type table struct {
	incarnation string
	rev         int64
	endpoints   map[picloud.RouteKey]*endpoint
	configs     map[string]picloud.AppConfig // by app; an app that is not in it has none
	limits      picloud.Limits               // of this node
}

// config returns what an app is configured with.
func (t *table) config(app string) picloud.AppConfig {
	c := t.configs[app]
	c.App = app
	return c
}

// knows reports whether an app exists, with functions or without.
func (t *table) knows(app string) bool {
	_, known := t.configs[app]
	return known
}

// match finds the endpoint for a request path. isFunction says that the path
// is below FunctionPrefix, so that nobody else answers it; rest is the path
// as the function sees it, "/" at least.
func (t *table) match(path string) (ep *endpoint, rest string, isFunction bool) {
	path, isFunction = strings.CutPrefix(path, FunctionPrefix)
	if !isFunction {
		return nil, "", false
	}
	app, path, _ := strings.Cut(path, "/")
	function, rest := path, "/"
	if i := strings.IndexByte(path, '/'); i >= 0 {
		function, rest = path[:i], path[i:]
	}
	return t.endpoints[picloud.RouteKey{App: app, Function: function}], rest, true
}

// apps returns the apps that have at least one endpoint.
func (t *table) apps() map[string]struct{} {
	out := map[string]struct{}{}
	for key := range t.endpoints {
		out[key.App] = struct{}{}
	}
	return out
}
