package agent

import (
	"context"
	"maps"
	"path/filepath"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent/gateway"
	"github.com/picloud/picloud/agent/invoke"
	"github.com/picloud/picloud/agent/replica"
)

// bootCopy serves what the disk has. The clock of the cluster is written once an hour while
// the node runs.
func (a *Agent) bootCopy() error {
	return a.replica.Boot(filepath.Join(clusterDir(a.opts.DataDir), "clock"))
}

// serve makes callers see a new state of the catalog. It is where the wings meet:
// the replica says what changed, the invoker and the gateway make it callable.
func (a *Agent) serve(c replica.Change) {
	for app := range c.Ended {
		a.endApp(app)
	}
	if len(c.Ended) > 0 {
		others := c.Old.Serving()
		maps.DeleteFunc(others, func(app string, _ struct{}) bool { return c.Ended[app] })
		a.executor.Retain(others)
		for key := range c.Old.Routes {
			if c.Ended[key.App] {
				a.forget(a.gateway.Endpoint(key).Function())
			}
		}
	}
	table := make(gateway.Table, len(c.New.Routes))
	for key, r := range c.New.Routes {
		if c.Same(key) {
			table[key] = a.gateway.Endpoint(key) // and with it the fairness among its waiting calls
			continue
		}
		table[key] = a.gateway.NewEndpoint(a.function(r, c.New))
	}
	last := a.gateway.Swap(table)
	if a.state.CompareAndSwap(int32(stateStarting), int32(stateServing)) {
		close(a.ready)
	}
	serving := c.New.Serving()
	a.executor.Retain(serving)
	a.secrets.Retain(c.New.Knows)
	for key, ep := range last {
		if _, stays := c.New.Routes[key]; stays || c.Ended[key.App] {
			continue
		}
		a.forget(ep.Function())
		if _, more := serving[key.App]; !more {
			a.logs.Forget(key.App)
		}
	}
}

// function makes the handle of a function, and lets its limit hold over all nodes if
// somebody has set it.
func (a *Agent) function(r picloud.Route, s *replica.State) *invoke.Function {
	app := s.App(r.App)
	shared := invoke.Shared(r.Settings, app)
	if !shared {
		a.quota.Leave(r.Key()) // first: the executor gives the function this node's limit
	}
	f := a.invoker.Function(r, s.Sources[r.Digest], app, s.Limits)
	if shared {
		a.quota.Enter(r.Key(), f.Limits.Concurrency, f.Handle())
	}
	return f
}

// forget drops what the node keeps about a function that is gone.
func (a *Agent) forget(last *invoke.Function) {
	a.quota.Leave(last.Route.Key())
	a.invoker.Forget(last)
}

// endApp ends the life of an app: its calls that still run can ask for nothing more
// and write no more log records. It comes before endpoints of an app of the same
// name, which may belong to somebody else.
func (a *Agent) endApp(app string) {
	a.broker.EndApp(app)
	a.logs.EndApp(app, a.invoker.NewID())
}

// drafter tries scripts that have no version yet. It implements manager.Drafter.
type drafter struct{ a *Agent }

// Draft runs a script with what the catalog says of its app now. What the script writes
// is thrown away, and its outgoing requests are made only with net.
func (d drafter) Draft(ctx context.Context, f picloud.Function, source []byte, most time.Duration, req picloud.Request, net bool) (picloud.Response, []picloud.LogRecord, picloud.Effects, error) {
	s := d.a.replica.State()
	var limits picloud.Limits
	if s != nil {
		limits = s.Limits
	}
	fit, err := gateway.FitOf(&f, req)
	if err != nil {
		return picloud.Response{}, nil, picloud.Effects{}, err
	}
	app := s.App(f.App)
	grants, trial := d.a.broker.Trial(f.Name, f.Settings, app, net)
	resp, logs, err := d.a.invoker.Draft(ctx, f, source, app, limits, grants, most, req, fit)
	effects := trial.End()
	hidden := d.a.secrets.Of(f.App)
	for i := range effects.Requests {
		effects.Requests[i].URL = hidden.Text(effects.Requests[i].URL)
	}
	for i := range effects.Writes {
		effects.Writes[i].Key = hidden.Text(effects.Writes[i].Key)
	}
	return resp, logs, effects, err
}
