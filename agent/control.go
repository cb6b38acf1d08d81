package agent

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/picloud/picloud/agent/broker"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api"
)

// metricsKey is where ServeControl puts the metrics handler of the proxy's
// present configuration into a request.
type metricsKey struct{}

// newControl wires the manager and its API to this node.
func (a *Agent) newControl() (*control, error) {
	d := a.database
	m, err := manager.New(manager.Options{
		Apps: d.Apps(), Functions: d.Functions(), Versions: d.Versions(), Deployments: d.Deployments(), Users: d.Users(),
		Secrets: d.Secrets(), Compiler: a.executor, Drafter: drafter{a}, Fleet: d.fleet, Sealer: a.vault, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	o := api.Options{
		Manager: m,
		Apps:    api.AppStores{Apps: d.Apps(), Functions: d.Functions(), Versions: d.Versions(), Deployments: d.Deployments()},
		People:  api.PeopleStores{Members: d.Members(), Users: d.Users()},
		Data:    api.DataStores{Env: d.Env(), Secrets: d.Secrets(), KV: d.KV()},
		Runs:    api.RunStores{Runs: a.invoker.Records(), Logs: a.logs, Others: others{a}, Meter: meter{a}},
		Nodes:   api.NodeStores{Nodes: presentNodes{keeper{d.Nodes(), a}, a}, Invitations: d.Invitations(), Inviter: a, State: a},
		Forward: a.forward, Functions: a.servesAt(),
		Ready: a.Unready, Missing: a.Missing, Node: a.opts.NodeName, Logger: a.log, Memory: a.bodies,
		Hosts: append(strings.FieldsFunc(a.opts.ControlHosts, func(c rune) bool { return c == ',' || c == ' ' }),
			a.opts.NodeName, a.opts.NodeName+".local"),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h, ok := r.Context().Value(metricsKey{}).(http.Handler); ok {
				h.ServeHTTP(w, r)
				return
			}
			http.NotFound(w, r)
		}),
	}
	c := &control{database: d}
	if c.handler, err = api.New(o); err != nil {
		return nil, err
	}
	c.nodes, err = api.NewForNodes(o)
	return c, err
}

// openControl wires the control API. It answers that the database is not reached
// until it is.
func (a *Agent) openControl() error {
	if err := a.openDatabase(); err != nil {
		return err
	}
	c, err := a.newControl()
	if err != nil {
		a.database.Close()
		return err
	}
	a.control.Store(c)
	return nil
}

// ServeControl answers a request of the control listener. metrics serves the
// registry of the proxy's present configuration.
func (a *Agent) ServeControl(w http.ResponseWriter, r *http.Request, metrics http.Handler) {
	control := a.control.Load()
	if control == nil {
		problem.Write(w, a.Unready(), "")
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/") && a.manages() {
		a.awaitDatabase(r.Context(), control.database)
		err := control.database.closed()
		if err == nil {
			err = a.hostGone()
		}
		if err != nil {
			problem.Write(w, err, "")
			return
		}
	}
	control.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), metricsKey{}, metrics)))
}

// awaitDatabase waits a moment for the first attempt to reach the database: a call right
// after the start of a node does not fail for that.
func (a *Agent) awaitDatabase(ctx context.Context, d *database) {
	if d.open.Load() {
		return
	}
	patience := time.NewTimer(broker.FirstWait)
	defer patience.Stop()
	select {
	case <-a.settled:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// control is the control API once the node is wired.
type control struct {
	handler  http.Handler
	nodes    http.Handler // what other nodes ask
	database *database
}
