package caddymodule

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/agent"
	"github.com/picloud/picloud/caddymodule/page"
	"github.com/picloud/picloud/internal/problem"
)

// Handler serves functions below /fn/; everything else goes to the next
// handler, and is 404 where there is none. It needs no configuration and is
// the whole chain of its site.
type Handler struct {
	agent    *agent.Agent
	handover *handover
	log      *slog.Logger
}

// CaddyModule returns the module's registration.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.picloud", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the node.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	h.agent, h.handover, h.log = app.runtime.agent, app.handover, ctx.Slogger()
	return nil
}

// ServeHTTP is the way of a request: one atomic load of the route table, then
// the function's endpoint. Failures of functions are answers, not errors of
// Caddy's chain, so nothing is allocated or logged for them here.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	defer answerPanic(h.log, w, r)
	h.handover.tell(w)
	clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	w = expect(w, r)
	if h.agent.ServeFunction(w, r, clientIP) {
		return nil
	}
	return serveRest(w, r, next)
}

// ManagerHandler serves the control API, health and metrics. It belongs on a
// listener of its own, never on the one that serves functions.
type ManagerHandler struct {
	agent    *agent.Agent
	handover *handover
	metrics  http.Handler
	log      *slog.Logger
}

// CaddyModule returns the module's registration.
func (ManagerHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.picloud_manager", New: func() caddy.Module { return new(ManagerHandler) }}
}

// Provision finds the node and the metrics of this configuration.
func (h *ManagerHandler) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	h.agent, h.handover, h.log = app.runtime.agent, app.handover, ctx.Slogger()
	h.metrics = promhttp.HandlerFor(ctx.GetMetricsRegistry(), promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
	return nil
}

// ServeHTTP answers everything; there is no next handler on this listener.
func (h *ManagerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	defer answerPanic(h.log, w, r)
	h.handover.tell(w)
	if r.URL.Path == "/" && page.Wanted(r) {
		page.Control(w, r)
		return nil
	}
	h.agent.ServeControl(expect(w, r), r, h.metrics)
	return nil
}

func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("picloud")
	if err != nil {
		return nil, fmt.Errorf("find picloud app: %w", err)
	}
	return app.(*App), nil
}

// answerPanic turns a panic of ours into a 500; net/http would cut the connection.
func answerPanic(log *slog.Logger, w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) // somebody wants the connection cut
	}
	log.Error("panic while serving a request", slog.Any("panic", v), slog.String("path", r.URL.Path), slog.String("stack", string(debug.Stack())))
	problem.Write(w, &picloud.Error{Code: picloud.CodeInternal, Op: "serve request"}, "")
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddy.Provisioner           = (*ManagerHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ManagerHandler)(nil)
)
