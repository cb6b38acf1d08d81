package replica

import "github.com/prometheus/client_golang/prometheus"

// metrics are what Prometheus learns of the copy. They are made once for each
// process and registered again with each configuration of the proxy, so that
// counters go on through reloads.
type metrics struct {
	databaseUp prometheus.Gauge
	revision   prometheus.Gauge
	age        prometheus.GaugeFunc
	functions  prometheus.Gauge
	pulls      *prometheus.CounterVec
}

func newMetrics(age func() float64) *metrics {
	return &metrics{
		databaseUp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_database_up",
			Help: "1 when this node reached the database at its last comparison of the catalog, at most a minute ago, else 0.",
		}),
		revision: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_catalog_revision",
			Help: "Catalog revision that this node serves.",
		}),
		age: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "picloud_catalog_age_seconds",
			Help: "Time since this node last compared its catalog with the database, also before it was restarted; -1 when it has no catalog.",
		}, age),
		functions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_functions",
			Help: "Functions that this node serves.",
		}),
		pulls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_catalog_pulls_total",
			Help: "Comparisons of the catalog with the database by result.",
		}, []string{"result"}),
	}
}

// Collectors returns the metrics of the copy, always the same ones.
func (r *Replica) Collectors() []prometheus.Collector {
	m := r.metrics
	return []prometheus.Collector{m.databaseUp, m.revision, m.age, m.functions, m.pulls}
}
