package invoke

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/picloud/picloud"
)

// ringSize is how many finished invocations a node remembers per function.
const ringSize = 1000

// The longest texts of a record, in bytes.
const (
	maxRecordedMethod = 32
	maxRecordedPath   = 256
	maxRecordedError  = 1024
)

// ring holds the newest ringSize invocations of one function. It grows with
// use, so that a function that is never called holds nothing.
type ring struct {
	mu      sync.Mutex
	records []picloud.Invocation
	next    int // index of the oldest record once the ring is full
}

// add records an invocation and forgets the oldest beyond ringSize.
func (r *ring) add(inv picloud.Invocation) {
	inv.Method = ownMethod(inv.Method)
	inv.Path = own(inv.Path, maxRecordedPath)
	if len(inv.Error) > maxRecordedError {
		inv.Error = own(inv.Error, maxRecordedError)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.records) < ringSize {
		r.records = append(r.records, inv)
		return
	}
	r.records[r.next] = inv
	r.next = (r.next + 1) % ringSize
}

// own copies at most n bytes of a text, and no half of a character. Method and
// path are parts of the request's header, which may have many kilobytes: a record
// that kept them would keep all of it.
func own(s string, n int) string {
	if s == "/" {
		return "/" // the path of most calls costs no copy
	}
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Clone(s)
}

// ownMethod is own for methods; the usual ones cost no copy.
func ownMethod(s string) string {
	for _, known := range [...]string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		if s == known {
			return known
		}
	}
	return own(s, maxRecordedMethod)
}

// newest returns up to n invocations, the newest first.
func (r *ring) newest(n int) []picloud.Invocation {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := len(r.records)
	n = min(n, size)
	out := make([]picloud.Invocation, 0, n)
	for i := range n {
		out = append(out, r.records[(r.next+2*size-1-i)%size])
	}
	return out
}

// Rings holds the ring of each function that this node serves.
type Rings struct {
	mu sync.Mutex
	m  map[picloud.RouteKey]*ring
}

// of returns the ring of a function; versions share it.
func (rs *Rings) of(key picloud.RouteKey) *ring {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.m == nil {
		rs.m = map[picloud.RouteKey]*ring{}
	}
	r := rs.m[key]
	if r == nil {
		r = &ring{}
		rs.m[key] = r
	}
	return r
}

// forget drops the ring of a function that is gone.
func (rs *Rings) forget(key picloud.RouteKey) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.m, key)
}

// Invocations returns the newest n invocations of an app's function, or of all
// its functions if function is empty, the newest first.
func (rs *Rings) Invocations(app, function string, n int) []picloud.Invocation {
	if function != "" {
		rs.mu.Lock()
		r := rs.m[picloud.RouteKey{App: app, Function: function}]
		rs.mu.Unlock()
		if r == nil {
			return nil
		}
		return r.newest(n)
	}
	rs.mu.Lock()
	var all []*ring
	for key, r := range rs.m {
		if key.App == app {
			all = append(all, r)
		}
	}
	rs.mu.Unlock()
	var out []picloud.Invocation
	for _, r := range all {
		out = append(out, r.newest(n)...)
	}
	slices.SortFunc(out, func(a, b picloud.Invocation) int { return b.Started.Compare(a.Started) })
	return out[:min(n, len(out))]
}

// Invocation finds a record by its call's id.
func (rs *Rings) Invocation(id string) (picloud.Invocation, bool) {
	rs.mu.Lock()
	all := slices.Collect(maps.Values(rs.m))
	rs.mu.Unlock()
	for _, r := range all {
		if inv, ok := r.find(id); ok {
			return inv, true
		}
	}
	return picloud.Invocation{}, false
}

func (r *ring) find(id string) (picloud.Invocation, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.records, func(inv picloud.Invocation) bool { return inv.ID == id })
	if i < 0 {
		return picloud.Invocation{}, false
	}
	return r.records[i], true
}
