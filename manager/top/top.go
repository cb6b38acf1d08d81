// Package top computes what nodes do at this moment from counters that they have anyway:
// two samples of a node make a window, the windows of all nodes make the rows that people
// read. Nothing is counted for it, and nothing runs while nobody looks.
package top

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/picloud/picloud"
)

// MaxFunctions bounds the functions in a node's window: those with the most calls.
const MaxFunctions = 1000

// Counters are what the calls of one function on one node have added up to since the
// node's process started, and what is under way.
type Counters struct {
	Calls   int64   `json:"calls"`  // that have ended
	Errors  int64   `json:"errors"` // of these: answered with 5xx
	Seconds float64 `json:"seconds"`
	// Buckets are how many calls took at most as long as each of the bounds, and no less
	// than the one before; the last is for all others.
	Buckets []int64 `json:"buckets,omitempty"`
	Running int     `json:"running"`
	Waiting int     `json:"waiting"`
}

// Machine is what a node says of itself.
type Machine struct {
	Load      float64 `json:"load"`      // of one minute, of all cores; 0: the machine does not say
	Cores     int     `json:"cores"`     // that PiCloud may use
	Memory    int64   `json:"memory"`    // that PiCloud may use, in bytes
	Available int64   `json:"available"` // of the machine's memory, in bytes; 0: it does not say
	Executors int     `json:"executors"` // processes
	Reserved  int64   `json:"reserved"`  // the sum of their memory limits, in bytes
	Running   int     `json:"running"`   // calls that run or wait
}

// Sample is what a node has counted until a moment.
type Sample struct {
	At        time.Time
	Bounds    []float64 // of Buckets, in seconds
	Functions map[picloud.RouteKey]Counters
	Machine   Machine
}

// shortest is the shortest window that a rate can be told of, in seconds. What another node
// sends may have any.
const shortest = 0.001

// Window is what a node did between two samples.
type Window struct {
	Seconds   float64    `json:"seconds"`
	Bounds    []float64  `json:"bounds"`
	Functions []Function `json:"functions"`
	Machine   Machine    `json:"machine"`
}

// Function is what a node did of one function.
type Function struct {
	App      string `json:"app"`
	Function string `json:"function"`
	Counters
}

// Between makes the window of two samples of one process. It has the functions that were
// called or run, those with the most calls if there are too many.
func Between(from, to Sample) Window {
	w := Window{Seconds: to.At.Sub(from.At).Seconds(), Bounds: to.Bounds, Machine: to.Machine}
	for key, c := range to.Functions {
		before := from.Functions[key]
		if before.Calls > c.Calls { // deleted, and deployed anew
			before = Counters{}
		}
		f := Function{App: key.App, Function: key.Function, Counters: c}
		f.Calls, f.Errors, f.Seconds = c.Calls-before.Calls, c.Errors-before.Errors, c.Seconds-before.Seconds
		f.Buckets = slices.Clone(c.Buckets)
		for i := range min(len(f.Buckets), len(before.Buckets)) {
			f.Buckets[i] -= before.Buckets[i]
		}
		if f.Calls+int64(c.Running+c.Waiting) > 0 {
			w.Functions = append(w.Functions, f)
		}
	}
	slices.SortFunc(w.Functions, func(a, b Function) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(b.Running, a.Running), cmp.Compare(a.App, b.App), cmp.Compare(a.Function, b.Function))
	})
	w.Functions = w.Functions[:min(len(w.Functions), MaxFunctions)]
	return w
}

// Row is what all nodes did of one function.
type Row struct {
	App, Function    string
	Calls, Errors    float64 // a second
	P50, P99, Mean   time.Duration
	Running, Waiting int
	calls            int64
	seconds          float64
	buckets          []int64
	bounds           []float64
	mixed            bool // nodes have different bounds: quantiles cannot be told
}

// Table adds up the windows of nodes.
type Table struct {
	rows map[picloud.RouteKey]*Row
}

// Add adds the window of a node.
func (t *Table) Add(w Window) {
	if !(w.Seconds >= shortest) || math.IsInf(w.Seconds, 0) { // also no number
		return
	}
	if t.rows == nil {
		t.rows = map[picloud.RouteKey]*Row{}
	}
	for _, f := range w.Functions {
		key := picloud.RouteKey{App: f.App, Function: f.Function}
		r := t.rows[key]
		if r == nil {
			r = &Row{App: f.App, Function: f.Function, bounds: w.Bounds, buckets: make([]int64, len(w.Bounds)+1)}
			t.rows[key] = r
		}
		r.Calls += float64(f.Calls) / w.Seconds
		r.Errors += float64(f.Errors) / w.Seconds
		r.Running += f.Running
		r.Waiting += f.Waiting
		r.calls += f.Calls
		r.seconds += f.Seconds
		if !slices.Equal(r.bounds, w.Bounds) || len(f.Buckets) != len(r.buckets) {
			r.mixed = true
			continue
		}
		for i, n := range f.Buckets {
			r.buckets[i] += n
		}
	}
}

// The orders of rows.
const (
	ByCalls   = "calls"
	ByErrors  = "errors"
	ByP99     = "p99"
	ByRunning = "running"
	ByName    = "name"
)

// Orders are all of them, the default first.
var Orders = []string{ByCalls, ByErrors, ByP99, ByRunning, ByName}

// Rows returns at most n rows in an order, those of which keep is true (nil: all), and how
// many others there are.
func (t *Table) Rows(order string, n int, keep func(app string) bool) (rows []Row, more int) {
	for _, r := range t.rows {
		if keep != nil && !keep(r.App) {
			continue
		}
		if r.calls > 0 {
			r.Mean = time.Duration(r.seconds / float64(r.calls) * float64(time.Second))
		}
		if !r.mixed {
			r.P50, r.P99 = r.quantile(0.5), r.quantile(0.99)
		}
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b Row) int {
		first := 0
		switch order {
		case ByErrors:
			first = cmp.Compare(b.Errors, a.Errors)
		case ByP99:
			first = cmp.Compare(b.P99, a.P99)
		case ByRunning:
			first = cmp.Compare(b.Running+b.Waiting, a.Running+a.Waiting)
		case ByName:
		default:
			first = cmp.Compare(b.Calls, a.Calls)
		}
		return cmp.Or(first, cmp.Compare(a.App, b.App), cmp.Compare(a.Function, b.Function))
	})
	more = max(len(rows)-n, 0)
	return rows[:len(rows)-more], more
}

// quantile estimates how long the quickest q of the calls took at most, within a bucket
// evenly. Beyond the last bound it is that bound.
func (r *Row) quantile(q float64) time.Duration {
	total := int64(0)
	for _, n := range r.buckets {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank, seen, low := q*float64(total), 0.0, 0.0
	for i, bound := range r.bounds {
		n := float64(r.buckets[i])
		if seen+n >= rank && n > 0 {
			return time.Duration((low + (bound-low)*(rank-seen)/n) * float64(time.Second))
		}
		seen += n
		low = bound
	}
	return time.Duration(low * float64(time.Second))
}
