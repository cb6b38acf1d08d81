package agent

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picloud/picloud"
)

// catalog is what the node serves: the route table that requests read with one
// atomic load, and the state it was built from. Changes are applied one after
// the other; requests never wait for them.
type catalog struct {
	server server

	table    atomic.Pointer[table] // nil until something was loaded
	verified atomic.Int64          // unix nanoseconds of the last comparison with the database; 0: never

	mu      sync.Mutex
	disk    *snapshot
	sources map[picloud.Digest][]byte
	rewrite bool          // the disk copy is damaged: write every source again
	changed chan struct{} // closed and replaced whenever the table changes
}

// server is what serves the catalog's tables.
type server interface {
	// endpoint makes the endpoint of a route, as its app and the node are
	// configured; it starts nothing.
	endpoint(r picloud.Route, source []byte, app picloud.AppConfig, node picloud.Limits) *endpoint
	// serving is told about each new table once requests see it.
	serving(t *table)
	// forget is told about each function that is no longer served, and the
	// endpoint that it had.
	forget(key picloud.RouteKey, last *endpoint)
	// ended is told about each app that is gone, before endpoints of another
	// app of its name are made.
	ended(app string)
}

func newCatalog(s server) *catalog {
	return &catalog{server: s, sources: map[picloud.Digest][]byte{}, changed: make(chan struct{})}
}

// boot serves what the disk copy holds, and keeps the copy current from then
// on. It reports whether there was something to serve.
func (c *catalog) boot(disk *snapshot) bool {
	m, sources, damaged := disk.load()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disk = disk
	c.rewrite = damaged > 0
	if m == nil {
		return false
	}
	next := &table{
		incarnation: m.Incarnation, rev: m.Rev, limits: m.Limits,
		endpoints: make(map[picloud.RouteKey]*endpoint, len(m.Routes)), configs: make(map[string]picloud.AppConfig, len(m.Apps)),
	}
	if damaged > 0 {
		next.incarnation = "" // asks the database for the whole catalog
	}
	for _, app := range m.Apps {
		next.configs[app.App] = app
	}
	for _, r := range m.Routes {
		next.endpoints[r.Key()] = c.server.endpoint(r, sources[r.Digest], next.config(r.App), next.limits)
	}
	c.sources = sources
	c.swap(next)
	return true
}

// missing lists the digests that the delta names and the node does not have.
func (c *catalog) missing(d picloud.Delta) []picloud.Digest {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []picloud.Digest
	seen := map[picloud.Digest]bool{}
	for _, r := range d.Routes {
		if _, have := c.sources[r.Digest]; (!have || c.rewrite) && !seen[r.Digest] {
			seen[r.Digest] = true
			out = append(out, r.Digest)
		}
	}
	return out
}

// apply turns the present table and a delta into the next table, serves it,
// and then makes it durable. An error means that the disk copy is behind; the
// node serves the new table all the same.
func (c *catalog) apply(d picloud.Delta, fetched map[picloud.Digest][]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.table.Load()
	next, routes := current.after(d)
	over := current.over(d, next)
	c.end(current, over)
	for key, r := range routes {
		source, ok := fetched[r.Digest]
		if !ok {
			source, ok = c.sources[r.Digest]
		}
		if !ok {
			return fmt.Errorf("apply catalog revision %d: source %s of %s/%s is missing", d.Rev, r.Digest, r.App, r.Function)
		}
		if current != nil {
			// An unchanged function keeps its endpoint, and with it its waiting calls' fairness.
			if have := current.endpoints[key]; have != nil && !over[key.App] && have.serves(r, next.config(r.App), next.limits) {
				next.endpoints[key] = have
				continue
			}
		}
		next.endpoints[key] = c.server.endpoint(r, source, next.config(r.App), next.limits)
	}
	c.keepSources(next, fetched)
	c.swap(next)
	if current != nil {
		for key, old := range current.endpoints {
			if next.endpoints[key] == nil && !over[key.App] {
				c.server.forget(key, old)
			}
		}
	}
	fresh := fetched
	if c.rewrite {
		fresh = c.sources
	}
	if err := c.disk.save(next.manifest(), fresh); err != nil {
		c.rewrite = true
		return fmt.Errorf("save catalog revision %d: %w", d.Rev, err)
	}
	c.rewrite = false
	return nil
}

// end takes leave of apps that are gone, and of their functions: what comes back
// under their names is new. The caller holds mu.
func (c *catalog) end(t *table, over map[string]bool) {
	for app := range over {
		c.server.ended(app)
	}
	if t == nil || len(over) == 0 {
		return
	}
	for key, ep := range t.endpoints {
		if over[key.App] {
			c.server.forget(key, ep)
		}
	}
}

// repair writes the disk copy again if the last attempt failed: without it the
// copy would stay behind until the next deploy.
func (c *catalog) repair() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	if !c.rewrite || t == nil {
		return nil
	}
	if err := c.disk.save(t.manifest(), c.sources); err != nil {
		return fmt.Errorf("save catalog revision %d again: %w", t.rev, err)
	}
	c.rewrite = false
	return nil
}

// keepSources adds what was fetched and forgets what no route names.
func (c *catalog) keepSources(t *table, fetched map[picloud.Digest][]byte) {
	keep := make(map[picloud.Digest][]byte, len(t.endpoints))
	for _, ep := range t.endpoints {
		d := ep.route.Digest
		if source, ok := fetched[d]; ok {
			keep[d] = source
		} else {
			keep[d] = c.sources[d]
		}
	}
	c.sources = keep
}

func (t *table) manifest() manifest {
	m := manifest{Incarnation: t.incarnation, Rev: t.rev, Limits: t.limits, Routes: make([]picloud.Route, 0, len(t.endpoints))}
	for _, ep := range t.endpoints {
		m.Routes = append(m.Routes, ep.route)
	}
	for _, app := range t.configs {
		m.Apps = append(m.Apps, app)
	}
	return m
}

// after returns the table that a delta leads to, without endpoints yet, and the
// routes that they are for.
func (t *table) after(d picloud.Delta) (next *table, routes map[picloud.RouteKey]picloud.Route) {
	next = &table{
		incarnation: d.Incarnation, rev: d.Rev, limits: d.Limits,
		endpoints: map[picloud.RouteKey]*endpoint{}, configs: map[string]picloud.AppConfig{},
	}
	routes = map[picloud.RouteKey]picloud.Route{}
	if t != nil && !d.Full {
		maps.Copy(next.configs, t.configs)
		for key, ep := range t.endpoints {
			routes[key] = ep.route
		}
	}
	for _, gone := range d.Gone {
		delete(routes, gone)
		if gone.Function == "" { // the whole app; it may have come back since
			delete(next.configs, gone.App)
			maps.DeleteFunc(routes, func(key picloud.RouteKey, _ picloud.Route) bool { return key.App == gone.App })
		}
	}
	for _, app := range d.Apps {
		next.configs[app.App] = app
	}
	for _, r := range d.Routes {
		routes[r.Key()] = r
	}
	return next, routes
}

// swap serves the next table and wakes who waits for it. The caller holds mu.
func (c *catalog) swap(next *table) {
	c.table.Store(next)
	close(c.changed)
	c.changed = make(chan struct{})
	c.server.serving(next)
}

// have returns what the node holds, to ask the database for what came after.
func (c *catalog) have() (incarnation string, rev int64) {
	t := c.table.Load()
	if t == nil {
		return "", 0
	}
	return t.incarnation, t.rev
}

// watch returns the revision that is served and a channel that is closed when
// it changes.
func (c *catalog) watch() (rev int64, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, rev = c.have()
	return rev, c.changed
}

// changes reports whether a delta brings anything.
func (c *catalog) changes(d picloud.Delta) bool {
	t := c.table.Load()
	return t == nil || d.Full || d.Rev != t.rev || len(d.Routes)+len(d.Apps)+len(d.Gone) > 0 || d.Limits != t.limits
}

// config returns what the node knows of an app's configuration, and its own
// limits.
func (c *catalog) config(app string) (picloud.AppConfig, picloud.Limits) {
	t := c.table.Load()
	if t == nil {
		t = &table{}
	}
	return t.config(app), t.limits
}

// compared notes that the table was just found equal to the database.
func (c *catalog) compared() { c.verified.Store(time.Now().UnixNano()) }

// age is the time since the last comparison in seconds, -1 if there was none.
func (c *catalog) age() float64 {
	at := c.verified.Load()
	if at == 0 {
		return -1
	}
	return time.Since(time.Unix(0, at)).Seconds()
}
