package agent

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
)

// metrics are the node's collectors. They are made once per process and
// registered again with each configuration of the proxy, so that counters go
// on through reloads. No label holds a value that a client chooses: apps and
// functions are those deployed.
type metrics struct {
	invocations *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	inFlight    *prometheus.GaugeVec
	dbUp        prometheus.Gauge
	catalogRev  prometheus.Gauge
	catalogAge  prometheus.GaugeFunc
	functions   prometheus.Gauge
	pulls       *prometheus.CounterVec
	logDrops    prometheus.CounterFunc
	bodies      prometheus.GaugeFunc
}

func newMetrics(catalogAge, logDrops, bodies func() float64) *metrics {
	return &metrics{
		invocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_invocations_total",
			Help: "Finished invocations by app, function, trigger and class of the HTTP status.",
		}, []string{"app", "function", "trigger", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "picloud_invocation_duration_seconds",
			Help:    "Wall time of invocations, queueing included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"app", "function", "trigger"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "picloud_invocations_in_flight",
			Help: "Invocations that run or queue now.",
		}, []string{"app", "function"}),
		dbUp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_database_up",
			Help: "1 when this node reached the database at its last comparison of the catalog, at most a minute ago, else 0.",
		}),
		catalogRev: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_catalog_revision",
			Help: "Catalog revision that this node serves.",
		}),
		catalogAge: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "picloud_catalog_age_seconds",
			Help: "Time since this node last compared its catalog with the database; -1 when it never did since it started.",
		}, catalogAge),
		functions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_functions",
			Help: "Functions that this node serves.",
		}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_catalog_pulls_total",
			Help: "Comparisons of the catalog with the database by result.",
		}, []string{"result"}),
		logDrops: prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "picloud_log_records_dropped_total",
			Help: "Log records of functions that were dropped because the writer could not keep up.",
		}, logDrops),
		bodies: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "picloud_bodies_bytes",
			Help: "Memory that large request and response bodies hold now.",
		}, bodies),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.invocations, m.duration, m.inFlight, m.dbUp, m.catalogRev, m.catalogAge,
		m.functions, m.pulls, m.logDrops, m.bodies,
	}
}

// forget drops the series of a function that is no longer served, so that the
// number of series is bounded by what is deployed.
func (m *metrics) forget(key picloud.RouteKey) {
	labels := prometheus.Labels{"app": key.App, "function": key.Function}
	m.invocations.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.inFlight.DeletePartialMatch(labels)
}

// gauge holds the collectors of one function, resolved once when the route
// table is built: no label is looked up while a call is served.
type gauge struct {
	classes  [6]prometheus.Counter // by status/100; 0 holds what has no class
	duration prometheus.Observer
	inFlight prometheus.Gauge
}

func (m *metrics) gauge(key picloud.RouteKey, trigger picloud.Trigger) *gauge {
	g := &gauge{
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
func (g *gauge) observe(status int, took time.Duration) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	g.classes[class].Inc()
	g.duration.Observe(took.Seconds())
}
