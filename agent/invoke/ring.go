package invoke

import (
	"maps"
	"math"
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
	next    int   // index of the oldest record once the ring is full
	added   int64 // how many records there were since the function was deployed
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
	r.added++
	if len(r.records) < ringSize {
		r.records = append(r.records, inv)
		return
	}
	r.records[r.next] = inv
	r.next = (r.next + 1) % ringSize
}

// own copies at most n bytes of a text, and no half of a character. Method and
// path are parts of the request line, which may have a megabyte: a record that
// kept them would keep all of it.
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

// newest returns up to n invocations that keep wants, the newest first; keep may be nil.
func (r *ring) newest(n int, keep func(*picloud.Invocation) bool) []picloud.Invocation {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := len(r.records)
	var out []picloud.Invocation
	for i := 0; i < size && len(out) < n; i++ {
		if inv := &r.records[(r.next+2*size-1-i)%size]; keep == nil || keep(inv) {
			out = append(out, *inv)
		}
	}
	return out
}

// since returns the invocations that came after the first n, and how many of those are
// forgotten.
func (r *ring) since(n int64) (out []picloud.Invocation, missed, added int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := int64(len(r.records))
	fresh := r.added - n
	for i := min(fresh, size); i > 0; i-- {
		out = append(out, r.records[(int64(r.next)+2*size-i)%size])
	}
	return out, max(fresh-size, 0), r.added
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

// Invocations returns the newest n invocations of some functions of an app, or of all
// its functions if there are none, that keep wants (nil: all), the newest first.
func (rs *Rings) Invocations(app string, functions []string, n int, keep func(*picloud.Invocation) bool) []picloud.Invocation {
	var out []picloud.Invocation
	newest := func() {
		slices.SortFunc(out, func(a, b picloud.Invocation) int { return b.Started.Compare(a.Started) })
		out = out[:min(n, len(out))]
	}
	for _, r := range rs.some(app, functions) {
		if out = append(out, r.newest(n, keep)...); len(out) > 4*n { // an app can have many functions
			newest()
		}
	}
	newest()
	return out
}

// some returns the rings of some functions of an app, or of all if there are none.
func (rs *Rings) some(app string, functions []string) map[picloud.RouteKey]*ring {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	out := map[picloud.RouteKey]*ring{}
	for key, r := range rs.m {
		if key.App == app && (len(functions) == 0 || slices.Contains(functions, key.Function)) {
			out[key] = r
		}
	}
	return out
}

// Follow returns a function that returns the calls of some functions of an app, or of
// all if there are none, that ended since it was last called, and how many others did
// that the rings have forgotten. It costs the calls nothing.
func (rs *Rings) Follow(app string, functions []string) func() (ended []picloud.Invocation, missed int64) {
	known := map[*ring]int64{}
	for _, r := range rs.some(app, functions) {
		_, _, known[r] = r.since(math.MaxInt64)
	}
	return func() (ended []picloud.Invocation, missed int64) {
		now := map[*ring]int64{}
		for _, r := range rs.some(app, functions) {
			fresh, gone, added := r.since(known[r])
			ended, missed, now[r] = append(ended, fresh...), missed+gone, added
		}
		known = now
		return ended, missed
	}
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
