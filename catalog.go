package picloud

// Route is what a node needs in order to serve one function: the catalog's
// unit. It names the code by digest; the source travels once per digest.
type Route struct {
	App      string   `json:"app"`
	Function string   `json:"function"`
	Version  int      `json:"version"`
	Digest   Digest   `json:"digest"`
	Settings Settings `json:"settings"`
	Rev      int64    `json:"rev"`
}

// RouteKey names a function across apps.
type RouteKey struct {
	App      string `json:"app"`
	Function string `json:"function"`
}

// Key returns the function that the route serves.
func (r Route) Key() RouteKey { return RouteKey{r.App, r.Function} }

// Delta is what changed in the catalog after the revision a node has.
type Delta struct {
	// Incarnation identifies the catalog's history. A node that holds another
	// incarnation takes the delta as the whole.
	Incarnation string
	// Rev is the revision that the delta leads to.
	Rev int64
	// Full says that the delta holds the whole catalog: forget what is not in it.
	Full bool
	// Routes are new or changed.
	Routes []Route
	// Apps are the configurations of apps, new or changed.
	Apps []AppConfig
	// Gone are tombstones: functions that are no longer served, and with an
	// empty Function whole apps.
	Gone []RouteKey
	// Limits are the defaults of the node that asked; they stand below those of
	// functions and apps.
	Limits Limits
	// Drained says that an admin took the node that asked out of service.
	Drained bool
}
