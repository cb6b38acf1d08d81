// Package gateway is the public HTTP of a node: it finds the function for a
// request, answers CORS, reads the body, and writes what the function answered.
package gateway

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/internal/budget"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/internal/urlpath"
)

// Options are what a Gateway works with. All are required.
type Options struct {
	// Bodies bounds the memory of all large bodies on their way: requests that are
	// still coming in or wait for their function, and answers that their clients
	// have not taken yet. How many there are is up to clients, and a slow client can
	// keep its body here for a minute.
	Bodies *budget.Budget
	// Node is the name of this node, for X-PiCloud-Node.
	Node string
	// NewID makes ids for answers that no function gave.
	NewID func() string
	// Unready says why the node cannot serve.
	Unready func() error
}

// Gateway serves functions over HTTP. It is safe for concurrent use.
type Gateway struct {
	opts      Options
	table     atomic.Pointer[Table] // nil until the node has something to serve
	nodeValue []string              // a header value, shared by all answers
	bodies    prometheus.GaugeFunc
	inbound   *budget.Queue // of the memory for bodies
}

// New returns a Gateway that answers that the node is not ready, until Swap.
func New(o Options) *Gateway {
	return &Gateway{opts: o, nodeValue: []string{o.Node}, inbound: newInboundQueue(o.Bodies), bodies: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "picloud_bodies_bytes",
		Help: "Memory that large request and response bodies hold now.",
	}, func() float64 { return float64(o.Bodies.Used()) })}
}

// Collectors returns the gateway's metrics, always the same ones.
func (g *Gateway) Collectors() []prometheus.Collector { return []prometheus.Collector{g.bodies} }

// Swap makes requests see another table, and returns the one before. Calls that
// began on it end on it.
func (g *Gateway) Swap(t Table) (last Table) {
	if old := g.table.Swap(&t); old != nil {
		last = *old
	}
	return last
}

// Endpoint returns what serves a function now; nil: nothing.
func (g *Gateway) Endpoint(key picloud.RouteKey) *Endpoint {
	t := g.table.Load()
	if t == nil {
		return nil
	}
	return (*t)[key]
}

// Serve answers r if it is for a function, and reports whether it was. This is
// the hot path: one atomic load, one lookup, then the endpoint.
//
// A path that proxies read in other ways than this node is refused first; of a path
// that is for nobody here that is the dot segments, with which it could be for a function.
func (g *Gateway) Serve(w http.ResponseWriter, r *http.Request, c *Caller) bool {
	escaped := r.URL.EscapedPath()
	key, rest, ok := split(escaped)
	if !ok && !urlpath.HasDots(escaped) {
		return false
	}
	if err := urlpath.Check(escaped); err != nil {
		g.refuse(w, r, err)
		return true
	}
	t := g.table.Load()
	if t == nil {
		g.refuse(w, r, g.opts.Unready())
		return true
	}
	ep := (*t)[key]
	if ep == nil {
		g.refuse(w, r, &picloud.Error{
			Code: picloud.CodeFunctionNotFound, Op: "call function", Resource: picloud.Shorten(escaped, 200),
			Detail: "no function is deployed here", Hint: "`picloud ls` lists the functions; a path is /fn/{app}/{function}",
		})
		return true
	}
	at := c.locate(r, escaped, rest)
	ep.serve(w, r, &at, c.IP)
	return true
}

// refuse answers a request that no function is there for.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	defer problem.Unread(w, r)()
	problem.WriteFunction(w, err, g.opts.NewID())
}

// full is the error of a call whose body does not fit into the node's memory for
// bodies: backpressure, which large calls feel and small ones do not.
func (g *Gateway) full(f *invoke.Function, detail string) error {
	return &picloud.Error{
		Code: picloud.CodeOverload, Op: "call function", Resource: f.Resource(),
		Detail: detail + ": the bodies of other calls fill the " + picloud.Size(g.opts.Bodies.Limit()).String() + " that this node has for bodies",
		Hint:   "try again; large bodies of slow clients hold memory until they are transferred", RetryAfter: time.Second,
	}
}
