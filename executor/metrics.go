package executor

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the executor's metrics. A process makes them once with NewMetrics and
// gives them to each Executor, because they outlive it.
type Metrics struct {
	starts  *prometheus.CounterVec
	ends    *prometheus.CounterVec
	workers prometheus.Gauge
	memory  prometheus.Gauge
	low     prometheus.Gauge
	// Gauge of all workers' abandoned calls.
	abandoned prometheus.Gauge
}

// NewMetrics returns metrics that count from zero. Register Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_executor_starts_total", Help: "Executor processes started, by kind: app, or throwaway for compiles and drafts.",
		}, []string{"kind"}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_executor_ends_total", Help: "Executor processes that ended, by cause. idle, evicted, abandoned (only calls were left whose callers had gone), replaced, throwaway and stopped are orderly ends.",
		}, []string{"cause"}),
		workers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_executor_workers", Help: "Executor processes alive.",
		}),
		memory: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_executor_memory_limit_bytes", Help: "Sum of the memory limits of the executor processes alive.",
		}),
		low: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_executor_spinning", Help: "Executor processes alive whose priority is lowered because they spin.",
		}),
		abandoned: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "picloud_executor_abandoned_calls", Help: "Calls that have not ended though nobody waits for them: the caller left, or the deadline passed.",
		}),
	}
	for _, kind := range []string{kindApp, kindThrowaway} {
		m.starts.WithLabelValues(kind)
	}
	for c := causeIdle; c <= causeCrash; c++ {
		m.ends.WithLabelValues(c.String())
	}
	return m
}

// Collectors returns the metrics, always the same ones.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.starts, m.ends, m.workers, m.memory, m.low, m.abandoned}
}

// The kinds of workers.
const (
	kindApp       = "app"
	kindThrowaway = "throwaway"
)

func (m *Metrics) started(w *worker) {
	kind := kindApp
	if w.pool == nil {
		kind = kindThrowaway
	}
	m.starts.WithLabelValues(kind).Inc()
	m.workers.Inc()
	m.memory.Add(float64(w.memory))
}

func (m *Metrics) ended(w *worker, c cause) {
	m.ends.WithLabelValues(c.String()).Inc()
	m.workers.Dec()
	m.memory.Sub(float64(w.memory))
	if w.share.low {
		m.low.Dec()
	}
}
