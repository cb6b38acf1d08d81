package invoke

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/picloud/picloud"
)

// metrics are the collectors of calls. They are made once for each process and
// registered again with each configuration of the proxy, so that counters go
// on through reloads. No label holds a value that a client chooses: apps and
// functions are those deployed.
type metrics struct {
	invocations *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	inFlight    *prometheus.GaugeVec
}

func newMetrics() *metrics {
	return &metrics{
		invocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_invocations_total",
			Help: "Finished invocations by app, function, trigger and class of the HTTP status.",
		}, []string{"app", "function", "trigger", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "picloud_invocation_duration_seconds",
			Help:    "Wall time of invocations, queueing included.",
			Buckets: durations,
		}, []string{"app", "function", "trigger"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "picloud_invocations_in_flight",
			Help: "Invocations that run or queue now.",
		}, []string{"app", "function"}),
	}
}

// Collectors returns the metrics of calls, always the same ones.
func (i *Invoker) Collectors() []prometheus.Collector {
	return []prometheus.Collector{i.metrics.invocations, i.metrics.duration, i.metrics.inFlight}
}

// forget drops the series of a function that is no longer served, so that the
// number of series is bounded by what is deployed.
func (m *metrics) forget(key picloud.RouteKey) {
	labels := prometheus.Labels{"app": key.App, "function": key.Function}
	m.invocations.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.inFlight.DeletePartialMatch(labels)
}

// series holds the collectors of one function, resolved once when the route
// table is built: no label is looked up while a call is served.
type series struct {
	classes  [6]prometheus.Counter // by status/100; 0 holds what has no class
	duration prometheus.Observer
	inFlight prometheus.Gauge
}

func (m *metrics) of(key picloud.RouteKey, trigger picloud.Trigger) *series {
	g := &series{
		duration: m.duration.WithLabelValues(key.App, key.Function, string(trigger)),
		inFlight: m.inFlight.WithLabelValues(key.App, key.Function),
	}
	for i := range g.classes {
		class := "other"
		if i > 0 {
			class = strconv.Itoa(i) + "xx"
		}
		g.classes[i] = m.invocations.WithLabelValues(key.App, key.Function, string(trigger), class)
	}
	return g
}

// observe counts one finished call.
func (g *series) observe(status int, took time.Duration) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	g.classes[class].Inc()
	g.duration.Observe(took.Seconds())
}

// durations are the bounds of the histogram of durations, in seconds.
var durations = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Bounds returns the bounds of Counts.Buckets, in seconds.
func Bounds() []float64 { return durations }

// Counts are what the calls of a function have added up to on this node since its process
// started.
type Counts struct {
	Calls, Errors int64 // Errors were answered with 5xx
	Seconds       float64
	Buckets       []int64 // calls that took at most each bound, and more than the one before; the last: all others
}

// Counts reads the function's counters. It costs the calls nothing.
func (f *Function) Counts() (c Counts) {
	for class, counter := range f.series.classes {
		var value dto.Metric
		if counter.Write(&value) != nil {
			continue
		}
		n := int64(value.GetCounter().GetValue())
		c.Calls += n
		if class == 5 {
			c.Errors = n
		}
	}
	var value dto.Metric
	if h, ok := f.series.duration.(prometheus.Metric); !ok || h.Write(&value) != nil {
		return c
	}
	h := value.GetHistogram()
	c.Seconds = h.GetSampleSum()
	before := int64(0)
	for _, b := range h.GetBucket() {
		n := int64(b.GetCumulativeCount())
		c.Buckets, before = append(c.Buckets, n-before), n
	}
	c.Buckets = append(c.Buckets, int64(h.GetSampleCount())-before)
	return c
}

// Running is how many calls run or wait now. It costs the calls nothing.
func (i *Invoker) Running() int {
	series, sum := make(chan prometheus.Metric), 0.0
	var collecting sync.WaitGroup
	collecting.Go(func() {
		defer close(series)
		i.metrics.inFlight.Collect(series)
	})
	for s := range series {
		var value dto.Metric
		if s.Write(&value) == nil {
			sum += value.GetGauge().GetValue()
		}
	}
	collecting.Wait()
	return int(sum)
}
