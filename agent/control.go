package agent

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/executor"
	"github.com/picloud/picloud/internal/problem"
	"github.com/picloud/picloud/manager"
	"github.com/picloud/picloud/manager/api"
)

// metricsKey is where ServeControl puts the metrics handler of the proxy's
// present configuration into a request.
type metricsKey struct{}

// newControl wires the manager and its API to this node.
func (a *Agent) newControl(d *database) (http.Handler, error) {
	m, err := manager.New(manager.Options{
		Apps: d.Apps(), Functions: d.Functions(), Versions: d.Versions(), Deployments: d.Deployments(), Users: d.Users(),
		Secrets: d.Secrets(), Compiler: a.executor, Drafter: drafter{a}, Fleet: d.fleet, Catalog: d.Catalog(), Sealer: a.vault, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	return api.New(api.Options{
		Manager: m, Apps: d.Apps(), Members: d.Members(), Users: d.Users(), Functions: d.Functions(),
		Versions: d.Versions(), Deployments: d.Deployments(), Env: d.Env(), Secrets: d.Secrets(), KV: d.KV(), Nodes: d.Nodes(), Runs: &a.rings, Logs: a.logs,
		Ready: a.Unready, Node: a.opts.NodeName, Logger: a.log,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h, ok := r.Context().Value(metricsKey{}).(http.Handler); ok {
				h.ServeHTTP(w, r)
				return
			}
			http.NotFound(w, r)
		}),
	})
}

// ServeControl answers a request of the control listener. metrics serves the
// registry of the proxy's present configuration.
func (a *Agent) ServeControl(w http.ResponseWriter, r *http.Request, metrics http.Handler) {
	control := a.control.Load()
	if control == nil {
		problem.Write(w, a.Unready(), "")
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		if err := control.database.closed(); err != nil {
			problem.Write(w, err, "")
			return
		}
	}
	control.handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), metricsKey{}, metrics)))
}

// control is the control API once the node is wired.
type control struct {
	handler  http.Handler
	database *database
}

// drafter tries scripts that have no version yet.
type drafter struct{ a *Agent }

// Draft runs a script once in a throw-away executor, with what the function f
// may have, for at most the given time.
func (d drafter) Draft(ctx context.Context, f picloud.Function, source []byte, most time.Duration, req picloud.Request) (picloud.Response, []picloud.LogRecord, error) {
	if req.ID == "" {
		req.ID = d.a.ids.id()
	}
	client, _, err := net.SplitHostPort(req.ClientIP)
	if err != nil {
		client = req.ClientIP
	}
	app, node := d.a.catalog.config(f.App)
	limits := effective(f.Settings, app, node)
	limits.Timeout = min(limits.Timeout, picloud.Duration(most))
	result, records, err := d.a.executor.Draft(ctx, executor.Program{
		App: f.App, Function: f.Name, Source: source, Limits: limits,
		Env: merged(app.Env, f.Settings.Env), Grants: d.a.broker.Grants(f.Name, f.Settings, app),
	}, &executor.Call{
		ID: req.ID, Trigger: picloud.TriggerDraft, Method: req.Method, Path: req.Path, RawQuery: req.Query,
		Header: req.Header, Body: req.Body, ClientIP: client,
	})
	hidden := d.a.hidden.of(f.App)
	for i := range records {
		hidden.record(&records[i])
	}
	if err != nil {
		return picloud.Response{}, records, hidden.fail(err)
	}
	defer result.Release()
	resp := picloud.Response{Status: result.Status, Header: http.Header{}, Body: append([]byte(nil), result.Body...)}
	setHeaders(resp.Header, result.Header, false)
	return resp, records, nil
}
