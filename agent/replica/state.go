package replica

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/picloud/picloud"
)

// State is one revision of the catalog as this node has it. It is pure data and
// never changes: a delta leads to a new State. The nil State has nothing.
type State struct {
	// Incarnation identifies the catalog's history. It is empty in copies of the first format.
	Incarnation string
	// Damaged says that the copy on disk was not whole: then the node asks for the whole
	// catalog.
	Damaged bool
	// Rev is the revision.
	Rev int64
	// Routes are the functions.
	Routes map[picloud.RouteKey]picloud.Route
	// Apps are the configurations of apps. An app that is not in it has none.
	Apps map[string]picloud.AppConfig
	// Limits are this node's own.
	Limits picloud.Limits
	// Drained says that an admin took this node out of service.
	Drained bool
	// Sources are the scripts that Routes name.
	Sources map[picloud.Digest][]byte
}

// App returns what an app is configured with.
func (s *State) App(name string) picloud.AppConfig {
	var c picloud.AppConfig
	if s != nil {
		c = s.Apps[name]
	}
	c.App = name
	return c
}

// Knows reports whether an app exists, with functions or without.
func (s *State) Knows(app string) bool {
	if s == nil {
		return false
	}
	_, known := s.Apps[app]
	return known
}

// Serving returns the apps that have at least one function.
func (s *State) Serving() map[string]struct{} {
	out := map[string]struct{}{}
	if s != nil {
		for key := range s.Routes {
			out[key.App] = struct{}{}
		}
	}
	return out
}

// changedBy reports whether a delta brings anything.
func (s *State) changedBy(d picloud.Delta) bool {
	return s == nil || d.Full || d.Rev != s.Rev || len(d.Routes)+len(d.Apps)+len(d.Gone) > 0 || d.Limits != s.Limits || d.Drained != s.Drained
}

// missing lists the digests that a delta names and the state has no source of,
// each once.
func (s *State) missing(d picloud.Delta) []picloud.Digest {
	var out []picloud.Digest
	seen := map[picloud.Digest]bool{}
	for _, r := range d.Routes {
		if seen[r.Digest] {
			continue
		}
		if s != nil {
			if _, have := s.Sources[r.Digest]; have {
				continue
			}
		}
		seen[r.Digest] = true
		out = append(out, r.Digest)
	}
	return out
}

// after returns the state that a delta leads to. The sources that the state
// lacks are in fetched.
func (s *State) after(d picloud.Delta, fetched map[picloud.Digest][]byte) (*State, error) {
	next := &State{
		Incarnation: d.Incarnation, Rev: d.Rev, Limits: d.Limits, Drained: d.Drained,
		Routes: map[picloud.RouteKey]picloud.Route{}, Apps: map[string]picloud.AppConfig{},
	}
	if s != nil && !d.Full {
		maps.Copy(next.Apps, s.Apps)
		maps.Copy(next.Routes, s.Routes)
	}
	for _, gone := range d.Gone {
		delete(next.Routes, gone)
		if gone.Function == "" { // the whole app; it may have come back since
			delete(next.Apps, gone.App)
			maps.DeleteFunc(next.Routes, func(key picloud.RouteKey, _ picloud.Route) bool { return key.App == gone.App })
		}
	}
	for _, app := range d.Apps {
		next.Apps[app.App] = app
	}
	for _, r := range d.Routes {
		next.Routes[r.Key()] = r
	}
	next.Sources = make(map[picloud.Digest][]byte, len(next.Routes))
	for _, r := range next.Routes {
		source, ok := fetched[r.Digest]
		if !ok && s != nil {
			source, ok = s.Sources[r.Digest]
		}
		if !ok {
			return nil, fmt.Errorf("apply catalog revision %d: source %s of %s/%s is missing", d.Rev, r.Digest, r.App, r.Function)
		}
		next.Sources[r.Digest] = source
	}
	return next, nil
}

// Change leads from one state to the next.
type Change struct {
	// Old is what was served before; nil: nothing.
	Old *State
	// New is what is served from now on.
	New *State
	// Ended are the apps of Old that are gone. An app of the same name in New is
	// another app, which may belong to somebody else.
	Ended map[string]bool
}

// Same reports whether a function is in both states, and is in New exactly what
// it was in Old: its route, its app's configuration and the node's limits.
func (c Change) Same(key picloud.RouteKey) bool {
	if c.Old == nil || c.Ended[key.App] || c.Old.Limits != c.New.Limits {
		return false
	}
	old, was := c.Old.Routes[key]
	now, is := c.New.Routes[key]
	return was && is && reflect.DeepEqual(old, now) && reflect.DeepEqual(c.Old.App(key.App), c.New.App(key.App))
}

// ended lists the apps of s that ended with a delta, which leads to next: apps
// that the delta says are gone, although they may have come back since; apps
// that are not in next; and apps with another data key, since an app keeps its
// key for life.
func (s *State) ended(d picloud.Delta, next *State) map[string]bool {
	if s == nil {
		return nil
	}
	ended := map[string]bool{}
	for _, gone := range d.Gone {
		if gone.Function == "" {
			ended[gone.App] = true
		}
	}
	for app, old := range s.Apps {
		now, known := next.Apps[app]
		if !known || len(old.Key) > 0 && string(old.Key) != string(now.Key) {
			ended[app] = true
		}
	}
	return ended
}

// manifest returns the state without its sources, for the disk.
func (s *State) manifest() manifest {
	m := manifest{Incarnation: s.Incarnation, Rev: s.Rev, Limits: s.Limits, Drained: s.Drained, Routes: make([]picloud.Route, 0, len(s.Routes))}
	for _, r := range s.Routes {
		m.Routes = append(m.Routes, r)
	}
	for _, app := range s.Apps {
		m.Apps = append(m.Apps, app)
	}
	if s.Damaged {
		m.Incarnation = "" // the whole is still to come
	}
	return m
}

// stateOf returns the state that a copy on disk holds.
func stateOf(m *manifest, sources map[picloud.Digest][]byte, damaged bool) *State {
	s := &State{
		Incarnation: m.Incarnation, Rev: m.Rev, Limits: m.Limits, Drained: m.Drained, Damaged: damaged, Sources: sources,
		Routes: make(map[picloud.RouteKey]picloud.Route, len(m.Routes)), Apps: make(map[string]picloud.AppConfig, len(m.Apps)),
	}
	for _, app := range m.Apps {
		s.Apps[app.App] = app
	}
	for _, r := range m.Routes {
		s.Routes[r.Key()] = r
	}
	return s
}
