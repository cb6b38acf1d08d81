// Package api is the control API on the wire: the handlers of openapi.yaml, on
// top of the manager and of stores that it knows by the small interfaces
// beside each resource. It is an http.Handler and owns no goroutine.
package api

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/picloud/picloud/manager"
)

// DefaultHeartbeat is how often a followed log shows that it is alive.
const DefaultHeartbeat = 15 * time.Second

// callTimeout bounds every call but a followed log.
const callTimeout = time.Minute

// Options are what the API works with. Those without a default are required.
type Options struct {
	// Manager deploys, tries drafts and knows whose token it is.
	Manager     *manager.Manager
	Apps        AppStore
	Members     MemberStore
	Users       UserStore
	Functions   FunctionStore
	Versions    VersionStore
	Deployments DeploymentStore
	Env         EnvStore
	Secrets     SecretStore
	KV          KVStore
	Nodes       NodeStore
	Runs        Runs
	Logs        Logs
	// Ready returns nil when the node can serve, else an error whose code says why not.
	Ready func() error
	// Node is the name of this node, for X-PiCloud-Node.
	Node string

	// Metrics answers GET /metrics to loopback and to those with a token. Default: there is none.
	Metrics http.Handler
	// Heartbeat is how often a followed log sends a comment, and checks that its
	// reader may still read. Default 15 s.
	Heartbeat time.Duration
	// Logger gets failures with their causes. Default: discarded.
	Logger *slog.Logger
}

func (o Options) validate() error {
	for name, missing := range map[string]bool{
		"Manager": o.Manager == nil, "Apps": o.Apps == nil, "Members": o.Members == nil, "Users": o.Users == nil,
		"Functions": o.Functions == nil, "Versions": o.Versions == nil, "Deployments": o.Deployments == nil,
		"Env": o.Env == nil, "Secrets": o.Secrets == nil, "KV": o.KV == nil,
		"Nodes": o.Nodes == nil, "Runs": o.Runs == nil, "Logs": o.Logs == nil, "Ready": o.Ready == nil, "Node": o.Node == "",
	} {
		if missing {
			return errors.New("new control API: Options." + name + " is missing")
		}
	}
	return nil
}

// server holds the handlers, one file per resource.
type server struct {
	o   Options
	log *slog.Logger
	mux *http.ServeMux
}

// New returns the control API: /api/v1, /healthz, /readyz and /metrics.
//
// A call passes, from outside in: identify (request id, panics), authenticate,
// route (404, 405), bound (size and time), the generated decoding, the handler.
func New(o Options) (http.Handler, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.Heartbeat = cmp.Or(o.Heartbeat, DefaultHeartbeat)
	s := &server{o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), mux: http.NewServeMux()}
	strict := NewStrictHandlerWithOptions(s, nil, StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.fail,
		ResponseErrorHandlerFunc: s.fail,
	})
	HandlerWithOptions(strict, StdHTTPServerOptions{
		BaseRouter:       s.mux,
		Middlewares:      []MiddlewareFunc{s.bound},
		ErrorHandlerFunc: s.failParameter,
	})
	if o.Metrics != nil {
		s.mux.Handle("GET /metrics", o.Metrics)
	}
	return s.identify(s.authenticate(http.HandlerFunc(s.route))), nil
}

// Interface guard.
var _ StrictServerInterface = (*server)(nil)
