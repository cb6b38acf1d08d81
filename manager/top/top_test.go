package top

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/picloud/picloud"
)

var bounds = []float64{0.001, 0.01, 0.1}

func sample(at int, functions map[string]Counters) Sample {
	s := Sample{At: time.Unix(int64(at), 0), Bounds: bounds, Functions: map[picloud.RouteKey]Counters{}}
	for name, c := range functions {
		s.Functions[picloud.RouteKey{App: "shop", Function: name}] = c
	}
	return s
}

func TestAWindowIsWhatCameBetween(t *testing.T) {
	w := Between(
		sample(10, map[string]Counters{
			"pay":  {Calls: 100, Errors: 10, Seconds: 5, Buckets: []int64{50, 50, 0, 0}},
			"idle": {Calls: 7},
			"anew": {Calls: 50, Seconds: 9},
		}),
		sample(12, map[string]Counters{
			"pay":  {Calls: 120, Errors: 14, Seconds: 6, Buckets: []int64{50, 60, 10, 0}, Running: 3},
			"idle": {Calls: 7},
			"anew": {Calls: 2, Seconds: 1},
			"hung": {Waiting: 1},
		}),
	)
	require.Equal(t, Window{Seconds: 2, Bounds: bounds, Functions: []Function{
		{"shop", "pay", Counters{Calls: 20, Errors: 4, Seconds: 1, Buckets: []int64{0, 10, 10, 0}, Running: 3}},
		{"shop", "anew", Counters{Calls: 2, Seconds: 1}},
		{"shop", "hung", Counters{Waiting: 1}},
	}}, w)

	var table Table
	table.Add(w)
	table.Add(w)
	table.Add(Window{}) // of a node that has no clock
	rows, more := table.Rows(ByCalls, 1, nil)
	require.Equal(t, 2, more)
	r := rows[0]
	require.Equal(t, "pay", r.Function)
	require.InDelta(t, 20, r.Calls, 0.01, "both nodes together")
	require.InDelta(t, 4, r.Errors, 0.01)
	require.Equal(t, 6, r.Running)
	require.Equal(t, 50*time.Millisecond, r.Mean)
	require.Equal(t, 10*time.Millisecond, r.P50)
	require.InDelta(t, 98.2, float64(r.P99)/1e6, 0.1)

	rows, more = table.Rows(ByName, 10, func(app string) bool { return app == "shop" })
	require.Zero(t, more)
	require.Equal(t, []string{"anew", "hung", "pay"}, []string{rows[0].Function, rows[1].Function, rows[2].Function})
	rows, _ = table.Rows(ByName, 10, func(string) bool { return false })
	require.Empty(t, rows)
}

func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		buckets  []int64
		p50, p99 time.Duration
	}{
		{[]int64{0, 0, 0, 0}, 0, 0},
		{[]int64{100, 0, 0, 0}, 500 * time.Microsecond, 990 * time.Microsecond},
		{[]int64{0, 0, 0, 5}, 100 * time.Millisecond, 100 * time.Millisecond},
	} {
		r := Row{bounds: bounds, buckets: c.buckets}
		require.Equal(t, c.p50, r.quantile(0.5))
		require.Equal(t, c.p99, r.quantile(0.99))
	}
}

// TestNodesOfTwoVersions: quantiles over different buckets cannot be told, and are left
// out.
func TestNodesOfTwoVersions(t *testing.T) {
	var table Table
	f := Function{"shop", "pay", Counters{Calls: 1, Seconds: 1, Buckets: []int64{0, 0, 1, 0}}}
	table.Add(Window{Seconds: 1, Bounds: bounds, Functions: []Function{f}})
	table.Add(Window{Seconds: 1, Bounds: bounds[1:], Functions: []Function{f}})
	rows, _ := table.Rows("", 5, nil)
	require.Zero(t, rows[0].P99)
	require.Equal(t, time.Second, rows[0].Mean)
}
