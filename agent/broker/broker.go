package broker

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/executor/hostcall"
	"github.com/picloud/picloud/internal/egress"
	"github.com/picloud/picloud/internal/share"
)

// Hider hides what secrets say in the logs of their app.
type Hider interface {
	// Learn hides a value that a function was given.
	Learn(app, name, value string)
}

// Options say what a broker works with.
type Options struct {
	Vault  *Vault         // required
	Hidden Hider          // required
	Egress egress.Options // of requests to other servers
	// Settled is closed when the database was reached for the first time, or when the
	// first attempt failed. Until then a call that needs the database waits a moment.
	// Nil: it never waits.
	Settled <-chan struct{}
}

// Broker answers host calls. It implements executor.Host. A script sees only errors
// that were written for it; every other error goes to the log as "internal".
type Broker struct {
	lives  lives
	vault  *Vault
	hidden Hider
	egress *egress.Client
	memory egress.Memory        // for what trials write
	keys   atomic.Pointer[Keys] // nil: the database was not reached yet
	turns  *share.Places        // of calls of the key-value store

	settled <-chan struct{} // see Options.Settled

	calls    *prometheus.CounterVec
	outbound *prometheus.CounterVec

	functions map[string]*function
	unknown   *function
}

var _ executor.Host = (*Broker)(nil)

// New makes a broker. Close ends it.
func New(o Options) (*Broker, error) {
	if o.Vault == nil || o.Hidden == nil {
		return nil, errors.New("make broker: it needs a vault and somebody who hides secrets")
	}
	b := &Broker{
		vault: o.Vault, hidden: o.Hidden, egress: egress.New(o.Egress), turns: share.New(storeShares), settled: o.Settled,
		functions: map[string]*function{},
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_host_calls_total",
			Help: "What functions asked of the node, by host function and outcome: ok, refused, unavailable or error.",
		}, []string{"call", "outcome"}),
		outbound: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_outbound_requests_total",
			Help: "Requests of functions to other servers by outcome: ok, or the code of the error.",
		}, []string{"outcome"}),
	}
	if b.memory = o.Egress.Memory; b.memory == nil {
		b.memory = unlimited{}
	}
	for name, run := range map[string]run{
		hostcall.SecretsGet: b.secret,
		hostcall.HTTPFetch:  b.fetch,
		hostcall.KVGet:      b.inTurn(b.get),
		hostcall.KVSet:      b.inTurn(b.set),
		hostcall.KVCAS:      b.inTurn(b.compareAndSet),
		hostcall.KVIncr:     b.inTurn(b.increment),
		hostcall.KVDelete:   b.inTurn(b.delete),
		hostcall.KVList:     b.inTurn(b.list),
	} {
		b.functions[name] = b.function(name, run)
	}
	b.unknown = b.function("unknown", func(_ context.Context, _ *Grants, call *executor.HostCall) ([]byte, error) {
		return nil, hostcall.Errorf(hostcall.CodeUnknown, "there is no host function %s", picloud.Shorten(call.Name, 80))
	})
	return b, nil
}

// Close ends the connections to other servers. Nobody calls the broker any more.
func (b *Broker) Close() { b.egress.Close() }

// Collectors are the broker's metrics.
func (b *Broker) Collectors() []prometheus.Collector {
	return []prometheus.Collector{b.calls, b.outbound}
}

// run answers one host call.
type run func(ctx context.Context, g *Grants, call *executor.HostCall) ([]byte, error)

// function is one host function, with its counters.
type function struct {
	run      run
	outcomes [len(outcomes)]prometheus.Counter
}

// outcomes are the values of a metric's label; the constants are their places.
var outcomes = [...]string{"ok", "refused", "unavailable", "error"}

const (
	outcomeOK = iota
	outcomeRefused
	outcomeUnavailable
	outcomeError
)

func (b *Broker) function(name string, run run) *function {
	f := &function{run: run}
	for i, outcome := range outcomes {
		f.outcomes[i] = b.calls.WithLabelValues(name, outcome)
	}
	return f
}

// Call implements executor.Host. It does not recover from panics, which the executor
// does; it counts them as errors.
func (b *Broker) Call(ctx context.Context, call executor.HostCall) (answer []byte, err error) {
	g, ok := call.Grants.(*Grants)
	f := b.functions[call.Name]
	if f == nil || !ok {
		f, g = b.unknown, nil
	}
	outcome := outcomeError
	defer func() { f.outcomes[outcome].Inc() }()
	answer, err = f.within(ctx, g, &call)
	outcome = outcomeOf(err)
	return answer, err
}

func outcomeOf(err error) int {
	var known *hostcall.Error
	switch {
	case err == nil:
		return outcomeOK
	case !errors.As(err, &known):
		return outcomeError
	case known.Code == hostcall.CodeKVUnavailable || known.Code == hostcall.CodeSecretUnavailable:
		return outcomeUnavailable
	}
	return outcomeRefused
}

// within runs the host function, unless the app's life has ended: another app may have
// its name by now. An answer is dropped when the app's life ended meanwhile.
func (f *function) within(ctx context.Context, g *Grants, call *executor.HostCall) (answer []byte, err error) {
	if g == nil {
		return f.run(ctx, nil, call)
	}
	if !g.life.over.Load() {
		answer, err = f.run(ctx, g, call)
	}
	if g.life.over.Load() {
		return nil, hostcall.Errorf(hostcall.CodeCancelled, "the app was deleted")
	}
	return answer, err
}
